package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/chain"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/export"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/stack"
	"github.com/stackflow/relatch/internal/story"
)

const verifyHelp = `Find out whether the ledger is whole. Each entry of a journal carries the hash of
the one before: verify walks these chains and names the first entry of each journal
that was edited, removed, repeated or put elsewhere.

Without a FILE it is the ledger itself that is read, whole and strongly consistent
(dynamodb:Scan, Query and BatchGetItem), also while it grows: each journal's
chain has to end where its standing says, and the justifications and approvals on
record, which are in no chain, have to be those that its entries were matched with.

A chain does not tell that its last entries are missing together with its standing,
or that all of it was written anew. The functions audit, reenable and sweep therefore
log the head of a journal with each entry, and --heads compares: an entry that was
logged has to be there, and to be the same; so a journal that is gone is found, and so
are two histories of one journal. Keep these logs where nobody can write who can
write the ledger.

FILE is a copy of the ledger's table, plain or gzip; - is standard input:

  - what aws dynamodb scan writes. A scan that is not filtered has the standings and
    the justifications too, and these are compared; take it again if the ledger grew
    meanwhile and only the end of a journal is wrong;
  - the data files of an export to S3 in DynamoDB's JSON, of one export all of them;
  - one entry per line as JSON, {"journal","number","prev","hash","record"}, those of
    a journal in the order of their numbers. The record is a JSON object, or the same
    as a string, or its base64; an object has to stand as it was written, since its
    bytes are hashed.

Items of a scan or an export may be in any order, and are held in memory. The records
that relatch replay writes, and those in the functions' log lines, have no hash of
their own: there is nothing in them to verify.

The file for --heads has the functions' log lines, or what CloudWatch Logs exports
of them: lines with other text, with a time stamp in front, or wrapped as
{"message":"…"}, are all right. The first line of other text is named and all are
passed over; each line that is broken and may have been a head is named.

Findings, one line each, or as JSON in findings, by journal and number of the entry:

  edited     the entry's hash is not that of its content
  unchained  it does not carry the hash of the entry before
  removed    entries before it are missing
  reordered  it stands before one that it has to follow
  repeated   its number was there before
  replaced   its hash is not the one that was logged, or that the standing has
  forked     two hashes were logged for its number
  truncated  the journal ends before what was logged, or what its standing counts
  uncounted  the journal goes on after what its standing counts
  altered    the justification, or its approval, is not what the entry was matched
             with
  unfounded  the justification that the entry was matched with is not there

Output: text; json, relatch.verify/1: journals, entries, heads, findings with journal,
number, kind and what.

Exit status:
  0  nothing was found
  1  something was found
  2  bad usage, or AWS, a FILE or a head cannot be read; the rest has been verified`

const verifyExamples = `  relatch verify
  for f in audit reenable sweep; do
    aws logs filter-log-events --log-group-name /aws/lambda/relatch-$f \
      --filter-pattern '{ $.head.number > 0 }' --query 'events[].[message]' --output text
  done > heads.jsonl
  relatch verify --heads heads.jsonl --profile audit --stack relatch
  aws dynamodb scan --table-name relatch --consistent-read --output json | relatch verify -
  relatch verify --heads heads.jsonl AWSDynamoDB/*/data/*.json.gz
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
	unreadable, err := f.logged(t, &w)
	if err != nil {
		return err
	}
	standings := false
	told := func(j dynamo.Journal) {
		standings = true
		w.Standing(mfa.Head{Journal: j.Name, Number: j.Standing.Entries, Hash: j.Standing.Head})
		w.Justifications(j.Name, j.Justifications)
	}
	files := t.files(paths)
	files.Journal = told
	var from source = files
	if len(paths) == 0 {
		p, err := f.open(c.Context(), t, stack.LedgerTable)
		if err != nil {
			return err
		}
		from = ledgerSource{c.Context(), p.Ledger, told}
	}
	records := 0
	for e, err := range from.Entries() {
		switch {
		case err != nil:
			unreadable = true
			t.complain(err)
		case e.Hash == "":
			records++
		default:
			w.Entry(e)
		}
	}
	switch {
	case records > 0 && w.Entries == 0:
		return fmt.Errorf("these are %s, not entries of the ledger: records have no hashes, so there is nothing to verify; take a copy of the ledger's table", count(records, "record"))
	case records > 0:
		unreadable = true
		t.complain(fmt.Errorf("%s without a hash among the entries: they cannot be verified", count(records, "record")))
	case w.Entries+w.Heads == 0 && !unreadable:
		return errors.New("there is no entry to verify")
	}
	found := verified{"relatch.verify/1", w.Journals(), w.Entries, w.Heads, w.End()}
	whole := "whole"
	switch {
	case unreadable:
		whole = "no finding, but not everything could be read"
	case w.Heads == 0 && standings:
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

// logged reads the heads, and names those that cannot be read. A file without one
// is a mistake, not an assurance.
func (f *verifyFlags) logged(t terminal, w *chain.Walk) (unreadable bool, err error) {
	for _, path := range f.heads {
		before, others, first := w.Heads, 0, ""
		for head, err := range t.files([]string{path}).Heads() {
			switch {
			case err != nil && !errors.Is(err, export.ErrNoHead):
				return false, fmt.Errorf("--heads: %w", err)
			case err == nil && head.Head == mfa.Head{}:
				others, first = others+1, cmp.Or(first, head.Place)
				continue
			case err == nil:
				if err = w.Logged(head.Head); err == nil {
					continue
				}
				err = fmt.Errorf("%s: %w", head.Place, err)
			}
			unreadable = true
			t.complain(fmt.Errorf("--heads: %w", err))
		}
		if others > 0 {
			t.complain(fmt.Errorf("--heads: %s: no head; %s passed over", first, count(others, "such line")))
		}
		if w.Heads == before {
			return false, fmt.Errorf("--heads: %s: there is no head in this file", path)
		}
	}
	return unreadable, nil
}

// complain says what could not be read, and goes on.
func (t terminal) complain(err error) {
	fmt.Fprintf(t.err, "relatch verify: %s\n", story.Clean(err.Error()))
}

// count is so many of them, in words.
func count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, strings.Replace(of, "entry", "entrie", 1))
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
	fmt.Fprintf(out, "%s of %s verified, %s compared: ", count(v.Entries, "entry"), count(v.Journals, "journal"), count(v.Heads, "head"))
	if n := len(v.Findings); n > 0 {
		whole = count(n, "finding")
	}
	fmt.Fprintln(out, whole)
	return out.Flush()
}
