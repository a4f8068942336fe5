package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/report"
	"github.com/stackflow/relatch/internal/stack"
	"github.com/stackflow/relatch/internal/story"
)

const reportHelp = `Tell of every override of a period, from the records that Relatch kept: whose
MFA was off, who switched it off and whether that was justified, from when to
when, how it ended and how late, and the sums.

Without a FILE it is the ledger itself that is read, whole, and users are named by
Cognito with the roles that they hold now. Who may not ask Cognito has their subs.

FILE has one JSON value per line, plain or gzip, and - is standard input:
entries of the ledger, records, what relatch replay --format json prints, or
the log lines of Relatch's functions that are records. Nothing else may be in
it: a report with gaps is no evidence.

An override belongs to the period if it was open at any time of it. TIME is
RFC 3339, a day such as 2026-11-23, which is midnight UTC, or a month such as
2026-11; --to itself is no longer part of it. --from with a month and no --to is
that month. Without both it is all of them. What is still open is so as of now or,
of FILEs, of the last record. An end by the full minute after the deadline, when the
timer fires, is not late.

Records hold no names. For FILEs, --account FILE, an account.json as relatch
replay reads it, says how users are called, which roles they hold, and how an
override was justified.

Output: text, a table of 120 columns; html, one page with a timeline, to be read,
printed and kept, which loads nothing; csv, a line for each override; json, one
object, relatch.report/1: from, to, as_of, empty (there was no record to read),
sums {overrides, opened, ended {restored, reenabled, reenrolled, gone, unrestorable,
open}, justified, required, repeated, overdue, longest, longest_seconds, latest,
latest_seconds} and overrides [id, user {pool_id, sub}, username, roles, required,
factors, actor, actor_type, source_ip, opened_at, deadline, closed_at, ended, brief,
seconds, late_seconds, repeated, justified, failed_rules, why, justification_id,
justification {id, reason, ticket, cause, author, approver, approved_at, at,
ticket_of}].

Exit status:
  0  the report is written; if there was no record to read, standard error says so
  2  bad usage, or the ledger or a FILE cannot be read: nothing is written

You need dynamodb:Scan, Query and BatchGetItem on the ledger's table, and
cognito-idp:AdminGetUser, AdminListGroupsForUser and ListUsers to name the users.`

const reportExamples = `  relatch report --from 2026-11
  relatch report --from 2026-11 --output html > november.html
  relatch report --from 2026-11 --profile audit --stack relatch-prod
  relatch report --from 2026-11-01 --to 2026-11-16 --output csv ledger.jsonl.gz
  relatch replay --format json events/disable-by-console |
    relatch report --account events/disable-by-console/account.json -`

type reportFlags struct {
	live
	from, to, account string
}

func reportCommand(t terminal) *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:                   "report [--from TIME] [--to TIME] [--output text|json|csv|html] [[--account FILE] FILE…]",
		Short:                 "Tell of every override of a period",
		Long:                  reportHelp + "\n\n" + awsHelp,
		Example:               reportExamples,
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
	flags.StringVar(&f.from, "from", "", "the `TIME`, day or month with which the period begins")
	flags.StringVar(&f.to, "to", "", "the `TIME`, day or month with which it ends, itself not part of it")
	flags.StringVar(&f.account, "account", "", "the `FILE` account.json of a replay: names, roles and justifications")
	f.writes(c, "text", "json", "csv", "html")
	f.reach(c)
	return c
}

func (f *reportFlags) run(c *cobra.Command, t terminal, paths []string) error {
	period, err := parsePeriod(f.from, f.to)
	write, ok := map[string]func(*report.Report, io.Writer) error{
		"text": (*report.Report).Text, "json": (*report.Report).JSON, "csv": (*report.Report).CSV, "html": (*report.Report).HTML,
	}[f.output]
	if !ok {
		err = errors.Join(err, fmt.Errorf("--output: %q is none of text, json, csv and html", f.output))
	}
	facts, problem := readFacts(f.account)
	switch {
	case problem != nil:
		err = errors.Join(err, fmt.Errorf("--account: %w", problem))
	case f.account != "" && len(paths) == 0:
		err = errors.Join(err, errors.New("--account: is for FILEs; - is standard input"))
	}
	if err != nil {
		return err
	}
	var (
		b    report.Builder
		from source = t.files(paths)
		asOf time.Time
	)
	if len(paths) == 0 {
		p, err := f.open(c.Context(), t, stack.LedgerTable)
		if err != nil {
			return err
		}
		asOf = t.now().UTC().Truncate(time.Second)
		from, facts = ledgerSource{c.Context(), p.Ledger, func(dynamo.Journal) {}}, &ledgerFacts{
			users: p.finder().Users, ledger: p.Ledger, people: map[mfa.RecordUser]mfa.User{}, failed: map[mfa.PoolID]bool{},
			trouble: func(err error) {
				fmt.Fprintf(t.err, "relatch report: users are not named: %s\n", story.Clean(err.Error()))
			},
		}
	}
	for e, err := range from.Entries() {
		if err != nil {
			return err
		}
		var r mfa.Record
		if err := json.Unmarshal(e.Record, &r); err != nil {
			return fmt.Errorf("read the record %.80s: %w", e.Record, err)
		}
		if r.Schema != mfa.RecordSchema {
			return fmt.Errorf("entry %d of %s is no %s", e.Number, e.Journal, mfa.RecordSchema)
		}
		ledger := e.Journal
		if e.Hash != "" {
			ledger = "" // an entry is of the one ledger, whatever its journal
		}
		b.Add(ledger, r)
	}
	r, err := b.Report(c.Context(), period, asOf, facts)
	if err != nil {
		return err
	}
	if r.Empty {
		fmt.Fprintln(t.err, "relatch report: there was no record to read")
	}
	out := bufio.NewWriter(t.out)
	if err := errors.Join(write(&r, out), out.Flush()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// parsePeriod reads the flags --from and --to; empty ones have no limit.
func parsePeriod(from, to string) (report.Period, error) {
	var p report.Period
	var errs []error
	var month bool
	read := func(flag, text string, at *time.Time) {
		if text == "" {
			return
		}
		for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01"} {
			if t, err := time.Parse(layout, text); err == nil {
				*at, month = t.UTC(), layout == "2006-01"
				return
			}
		}
		errs = append(errs, fmt.Errorf("%s: %q is no time such as 2026-11-23T08:00:00Z, no day such as 2026-11-23 and no month such as 2026-11", flag, text))
	}
	read("--from", from, &p.From)
	if month && to == "" {
		p.To = p.From.AddDate(0, 1, 0)
	}
	read("--to", to, &p.To)
	if len(errs) == 0 && to != "" && !p.To.After(p.From) {
		errs = append(errs, fmt.Errorf("--to: %s is not after --from %s", to, from))
	}
	return p, errors.Join(errs...)
}
