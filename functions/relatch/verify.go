package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/chain"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/stack"
	"github.com/stackflow/relatch/internal/story"
)

const verifyHelp = `Find out whether the ledger is whole. Each entry of a journal carries the hash
of the one before: verify walks these chains and names the first entry of each
journal that was edited, removed, repeated or put elsewhere.

Without a FILE it is the ledger itself that is read, whole and strongly consistent
(dynamodb:Scan, Query and BatchGetItem), also while it grows: each journal's
chain has to end where its standing says, and the justifications and approvals on
record, which are in no chain, have to be those that its entries were matched with.

A chain does not tell that its last entries are missing, or that all of it was
written anew. The functions therefore log the head of a journal with each record,
and --heads compares: an entry that was logged has to be there, and to be the
same. Keep these logs where nobody can write who can write the ledger.

FILE has one entry of the ledger per line as JSON, {"journal","number","prev",
"hash","record"}, plain or gzip, and - is standard input. The entries of a
journal stand in the order of their numbers. The record is a JSON object, or the
same as a string, or its base64; an object has to stand as it was written, since
its bytes are hashed.

The file for --heads has the functions' log lines, or what CloudWatch Logs
exports of them: lines with other text, with a time stamp in front, or wrapped
as {"message":"…"}, are all right. Lines that are no head are passed over.

Exit status: 0 when nothing was found; 1 when something was; 2 for bad usage, or
if AWS or a FILE cannot be read, after the rest has been verified.`

const verifyExamples = `  relatch verify
  relatch verify --heads heads.jsonl --profile audit --stack relatch-prod
  aws dynamodb scan --table-name TABLE --filter-expression 'begins_with(sk, :entry)' \
    --expression-attribute-values '{":entry":{"S":"entry/"}}' --output json |
    jq -c '.Items[] | map_values(.S // (.N | tonumber))' > ledger.jsonl
  relatch verify ledger.jsonl
  aws logs filter-log-events --log-group-name /aws/lambda/relatch-audit \
    --filter-pattern '{ $.head.number > 0 }' --query 'events[].[message]' --output text > heads.jsonl
  relatch verify --heads heads.jsonl ledger.jsonl
  relatch verify --output json ledger.jsonl | jq -r '.findings[].journal'`

type verifyFlags struct {
	live
	heads []string
}

func verifyCommand(t terminal) *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:                   "verify [--heads FILE]… [--output text|json] [FILE…]",
		Short:                 "Find out whether the ledger is whole",
		Long:                  verifyHelp + "\n\n" + awsHelp,
		Example:               verifyExamples,
		DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, paths []string) error {
			if err := f.either(c, paths); err != nil {
				return err
			}
			return f.run(c, t, paths)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringArrayVar(&f.heads, "heads", nil, "a `FILE` with the heads that the functions logged; may be repeated")
	f.add(c)
	return c
}

// verified is the output as JSON.
type verified struct {
	Schema   string          `json:"schema"`
	Journals int             `json:"journals"`
	Entries  int             `json:"entries"`
	Heads    int             `json:"heads"`
	Findings []chain.Finding `json:"findings"`
}

func (f *verifyFlags) run(c *cobra.Command, t terminal, paths []string) error {
	if err := f.check(); err != nil {
		return err
	}
	var w chain.Walk
	if err := f.logged(t, &w); err != nil {
		return err
	}
	var from source = t.files(paths)
	if len(paths) == 0 {
		p, err := f.open(c.Context(), t, stack.LedgerTable)
		if err != nil {
			return err
		}
		from = ledgerSource{c.Context(), p.Ledger, func(j dynamo.Journal) {
			w.Standing(mfa.Head{Journal: j.Name, Number: j.Standing.Entries, Hash: j.Standing.Head})
			w.Justifications(j.Name, j.Justifications)
		}}
	}
	unreadable := false
	for e, err := range from.Entries() {
		if err == nil && e.Hash == "" {
			err = errors.New("a record alone has no hash: verify wants entries of the ledger")
		}
		if err != nil {
			unreadable = true
			fmt.Fprintf(t.err, "relatch verify: %s\n", story.Clean(err.Error()))
			continue
		}
		w.Entry(e)
	}
	if w.Entries+w.Heads == 0 && !unreadable {
		return errors.New("there is no entry to verify")
	}
	found := verified{"relatch.verify/1", w.Journals(), w.Entries, w.Heads, w.End()}
	whole := "whole"
	switch {
	case unreadable:
		whole = "no other finding, but not everything could be read"
	case w.Heads == 0 && len(paths) == 0:
		whole = "whole, as far as the ledger tells; without --heads, a journal that was removed or written anew with its standing is not found"
	case w.Heads == 0:
		whole = "whole, as far as chains tell; without --heads, entries missing at the end of a journal are not found"
	}
	if err := f.write(t, found, whole); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	switch {
	case unreadable:
		return exit(exitUsage)
	case len(found.Findings) > 0:
		return exit(exitUnmet)
	}
	return nil
}

// logged reads the heads. A file without one is a mistake, not an assurance.
func (f *verifyFlags) logged(t terminal, w *chain.Walk) error {
	for _, path := range f.heads {
		before := w.Heads
		for head, err := range t.files([]string{path}).Heads() {
			if err != nil {
				return fmt.Errorf("--heads: %w", err)
			}
			if err := w.Logged(head); err != nil {
				return fmt.Errorf("--heads: %s: %w", path, err)
			}
		}
		if w.Heads == before {
			return fmt.Errorf("--heads: %s: there is no head in this file", path)
		}
	}
	return nil
}

// write writes what was found; whole is what is said when that is nothing.
func (f *verifyFlags) write(t terminal, v verified, whole string) error {
	out := bufio.NewWriter(t.out)
	if f.output == "json" {
		if v.Findings == nil {
			v.Findings = []chain.Finding{}
		}
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		return errors.Join(e.Encode(v), out.Flush())
	}
	for _, found := range v.Findings {
		fmt.Fprintf(out, "%s  %s: %s\n", found.Kind, story.Clean(found.Journal), found.What)
	}
	fmt.Fprintf(out, "%d entries of %d journals verified, %d heads compared: ", v.Entries, v.Journals, v.Heads)
	if n := len(v.Findings); n > 0 {
		whole = fmt.Sprintf("%d findings", n)
	}
	fmt.Fprintln(out, whole)
	return out.Flush()
}
