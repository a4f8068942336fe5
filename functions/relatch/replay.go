package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/archive"
	"github.com/stackflow/relatch/internal/bucket"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
	"github.com/stackflow/relatch/internal/story"
	"github.com/stackflow/relatch/internal/whole"
)

const replayHelp = `Run recorded CloudTrail deliveries through the worker, on an account in memory
whose clock jumps to each delivery and each timer, and tell what it decides,
schedules, alerts and ends.

What is read:
  PATH is a scenario's folder (with account.json or expect.json), a folder of
  scenarios, a folder of files, a file, s3://BUCKET/PREFIX, or - for standard input.
  Files are EventBridge envelopes, CloudTrail log files, the output of
  lookup-events, rows of CloudTrail Lake (eventJson) or Athena, or bare records, one,
  a list, or one per line, each plain or gzip. In a folder the files .json, .jsonl
  and .ndjson are taken, each also with .gz.

Archives:
  --from, --to, --region and --account-id leave out files by what the folders that
  CloudTrail makes (AWSLogs/…/yyyy/mm/dd), or the names of its files, say of them,
  without opening them; the day is the one on which CloudTrail delivered. A file that
  PATH names itself is always read. In files
  laid out as AWS writes them, records that cannot matter are counted without being
  decoded. --no-prefilter decodes them too, and so also tells of faults inside them,
  such as a key that is there twice. Both decide the same. In which file a record
  is makes no difference: of equal times the event ids decide the order. More than a
  few thousand records that matter go into a temporary file (in TMPDIR).

  What is in S3 is read with your credentials as the AWS CLI has them, or those of
  --profile, and needs s3:ListBucket and s3:GetObject. --region is no Region to ask:
  S3 says where the bucket is. Folders that are left out are not listed.

  Ctrl-C ends the reading or the replay and tells what was done so far, a comparison
  only what it had compared to the end; a second one ends at once. On a terminal,
  reading that takes longer than a second shows how far it is.

What is broken is named, skipped and counted, and the rest is done:
  a gzip file that is cut off or not what its checksum says (each part of one that was
  put together of several is looked at by itself), what is named .gz and is neither
  gzip nor JSON, and what may not be read or listed. Nothing vouches for what can
  still be read of a broken gzip file; gzip -dc FILE | relatch replay - uses it all
  the same. In a plain file that is cut off, the records before the cut count.

Users:
  Without an account file they are inferred from the events, and every pool is ours.
  Inferred users have only the roles that the events give them, so most of their
  disables warn instead of paging: list the users in an account file, as relatch
  snapshot writes one of live pools.

What is told:
  The story of what happens, and of log files at the end the overrides and the pages
  by day; behind the first 200 records the story is told only with -v.

  --html FILE also writes a page that needs nothing else: the pages per day, a
  timeline for each user, every override and every alert, with filters. It names
  users, so only you may read it.

Two policies:
  --compare FILE replays everything under two: A, that of --policy or else of the
  account, and B, that of FILE. It tells only what differs: who would page and who
  would not, overrides that one would not open, justify or end when the other does,
  deliveries that one would ignore, in the order of their time; then the totals of
  both. A policy given by a flag holds throughout, instead of all those in the
  account file. With --format json there is a relatch.difference/1 on each line and a
  relatch.comparison/1 with the totals of each scenario, and of all. What scenarios
  expect is not checked, and the exit status does not tell whether something differs.

Exit status:
  0  everything came as expected, or nothing was expected
  1  an expectation was not met
  2  bad usage, or something cannot be read; the rest has been done`

const replayExamples = `  relatch replay events                         every scenario, the first one as a story
  relatch replay events/disable-by-console      one scenario, as a story
  relatch replay -v events                      all of them as stories
  relatch replay AWSLogs/111122223333           log files as CloudTrail delivers them
  relatch replay --from 2026-10-01 --to 2026-10-31 --region us-east-1 AWSLogs
  relatch replay --profile audit --from 2026-10-01 s3://my-trail-bucket/AWSLogs
  aws cloudtrail lookup-events --lookup-attributes \
    AttributeKey=EventSource,AttributeValue=cognito-idp.amazonaws.com | relatch replay -
  relatch replay --policy policy.json --compare shorter.json AWSLogs
  relatch replay --html year.html AWSLogs
  relatch snapshot && relatch replay --account account.json AWSLogs
  relatch replay --format json events | jq 'select(.verdict == "open")'`

type replayFlags struct {
	account, policy, format, until string
	compare, html                  string
	other                          []byte // the policy record of compare
	from, to                       string
	regions, accounts              []string
	decodeAll                      bool
	verbose                        bool
	live                           live
}

func replayCommand(t terminal) *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:                   "replay [--account FILE] [--policy FILE [--compare FILE]] [--format text|json] [--html FILE] [--until TIME] [-v] PATH…",
		Short:                 "Run recorded deliveries through the worker",
		Long:                  replayHelp,
		Example:               replayExamples,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, paths []string) error {
			if len(paths) == 0 {
				return errors.New("no PATH given")
			}
			return nil
		},
		RunE: func(c *cobra.Command, paths []string) error {
			for _, flag := range []string{"profile", "endpoint-url"} {
				if c.Flags().Changed(flag) && !slices.ContainsFunc(paths, bucket.Is) {
					return fmt.Errorf("--%s: AWS is asked only where a PATH begins with s3://", flag)
				}
			}
			return f.run(c.Context(), t, paths)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.account, "account", "", "`FILE` with the account before the first call, instead of account.json; relatch snapshot writes one")
	flags.StringVar(&f.policy, "policy", "", "`FILE` with the policy record, instead of the account's")
	flags.StringVar(&f.compare, "compare", "", "`FILE` with another policy record: tell only what it would change")
	flags.StringVar(&f.format, "format", "text", "`text` for people, or json: a record per line and a summary for each scenario and for all")
	flags.StringVar(&f.html, "html", "", "also write what happens into this `FILE`, as one page")
	flags.StringVar(&f.until, "until", "", "stop the clock at this `TIME`, such as 2026-11-23T08:00:00Z")
	flags.StringVar(&f.from, "from", "", "leave out files of archives of the days before this `DAY`, such as 2026-11-23")
	flags.StringVar(&f.to, "to", "", "leave out those of the days after this `DAY`")
	flags.StringSliceVar(&f.regions, "region", nil, "leave out those of other Regions than `NAME` (several with commas)")
	flags.StringSliceVar(&f.accounts, "account-id", nil, "leave out those of other accounts than `ID` (several with commas)")
	flags.StringVar(&f.live.profile, "profile", "", "the `PROFILE` of ~/.aws with which S3 is read")
	flags.StringVar(&f.live.endpoint, "endpoint-url", "", "ask S3 at this `URL`")
	flags.BoolVar(&f.decodeAll, "no-prefilter", false, "decode every record, also those that cannot matter")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "tell every scenario as a story, and what each page says is to be done")
	return c
}

func (f *replayFlags) run(ctx context.Context, t terminal, paths []string) error {
	if t.getenv("GOGC") == "" {
		debug.SetGCPercent(50) // archives are read without garbage; what they leave should be small
	}
	began := t.now()
	loader, options, err := f.read(t, began)
	if err != nil {
		return err
	}
	unreadable := 0
	complain := func(text string) {
		unreadable++
		fmt.Fprintf(t.err, "relatch replay: %s\n", story.Clean(text))
	}
	defer loader.Close()
	stop := t.reads(loader, paths)
	scenarios, err := loader.LoadContext(ctx, paths)
	stop()
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if ctx.Err() == nil || line != ctx.Err().Error() {
				complain(line)
			}
		}
	}
	asked := ctx
	if ctx.Err() != nil {
		complain("stopped while reading; what follows is about what was read")
		ctx = context.WithoutCancel(ctx)
	}
	if len(scenarios) == 0 {
		return exit(exitUsage)
	}
	out := bufio.NewWriter(t.out)
	play, w := f.player(asked, t, out, scenarios, options)
	for _, s := range scenarios {
		r, err := play(ctx, s)
		switch {
		case err == nil:
		case ctx.Err() != nil && r != nil:
			complain("stopped: " + strings.TrimSpace(strings.TrimSuffix(err.Error(), ": "+ctx.Err().Error())) + "; what follows is about the time before")
		default:
			return err
		}
		if s.Expect == nil {
			for _, text := range r.Rejected {
				complain(text)
			}
		}
		if err := out.Flush(); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err := errors.Join(w.end(t.now().Sub(began)), out.Flush()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	switch {
	case unreadable > 0:
		if unreadable > 1 {
			fmt.Fprintf(t.err, "relatch replay: %s problems, named above; the rest has been done\n", replay.Thousands(unreadable))
		}
		return exit(exitUsage)
	case w.unmet():
		return exit(exitUnmet)
	}
	return nil
}

// read turns the flags into what they say.
func (f *replayFlags) read(t terminal, began time.Time) (*replay.Loader, replay.Options, error) {
	loader := &replay.Loader{Stdin: t.in, DecodeAll: f.decodeAll, S3: f.s3}
	options := replay.Options{Start: began.UTC().Truncate(time.Second)}
	var errs []error
	if f.format != "text" && f.format != "json" {
		errs = append(errs, fmt.Errorf("--format: %q is neither text nor json", f.format))
	}
	if f.until != "" {
		until, err := time.Parse(time.RFC3339, f.until)
		if err != nil {
			errs = append(errs, fmt.Errorf("--until: %q is no time such as 2026-11-23T08:00:00Z", f.until))
		}
		options.Until = until.UTC()
		loader.Until = options.Until
	}
	errs = append(errs, f.filter(&loader.Filter))
	if f.account != "" {
		file, err := replay.ReadAccount(f.account)
		if err != nil {
			errs = append(errs, fmt.Errorf("--account: %w", err))
		}
		loader.Account = &file
	}
	if f.policy != "" {
		raw, err := readPolicy("--policy", f.policy)
		errs = append(errs, err)
		options.Policy = raw
	}
	if f.html != "" {
		if err := whole.Check(f.html); err != nil {
			errs = append(errs, fmt.Errorf("--html: %w", err))
		}
	}
	if f.compare != "" {
		raw, err := readPolicy("--compare", f.compare)
		errs = append(errs, err)
		f.other = raw
		if f.html != "" {
			errs = append(errs, errors.New("--html: is for one policy, and there is no page for --compare"))
		}
	}
	return loader, options, errors.Join(errs...)
}

// s3 walks what is in S3, with the caller's credentials.
func (f *replayFlags) s3(ctx context.Context, path string, takes func(string, bool) bool, object func(string, replay.File), broken func(string, bool, error)) error {
	a, err := f.live.aws(ctx)
	if err == nil {
		err = usable(ctx, a)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return bucket.Open(a).Walk(ctx, path, takes, func(o *bucket.Object) { object(o.Name, o) }, broken)
}

// filter turns the flags about archives into what they say.
func (f *replayFlags) filter(to *archive.Filter) error {
	var errs []error
	day := func(flag, text string) (day time.Time) {
		if text == "" {
			return day
		}
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is no day such as 2026-11-23", flag, text))
		}
		return day
	}
	to.From, to.To = day("--from", f.from), day("--to", f.to)
	if !to.To.IsZero() && to.To.Before(to.From) {
		errs = append(errs, fmt.Errorf("--to: %s is before --from", f.to))
	}
	for _, id := range f.accounts {
		if len(id) != 12 || strings.Trim(id, "0123456789") != "" {
			errs = append(errs, fmt.Errorf("--account-id: %q is no account id, which has 12 digits", id))
		}
	}
	to.Regions, to.Accounts = f.regions, f.accounts
	return errors.Join(errs...)
}

// tell runs one scenario and passes on what happens.
func tell(ctx context.Context, s replay.Scenario, o replay.Options, w writer) (*story.Report, error) {
	r := &story.Report{Expected: s.Expect != nil, Story: story.Story{Names: map[mfa.Sub]string{}}}
	if s.Account != nil {
		for _, u := range s.Account.Users {
			r.Story.Names[u.Sub] = u.Username
		}
	}
	var failed error
	told := w.begin(s.Name, &r.Story)
	o.Forget = s.Expect == nil
	o.Told = func(record mfa.Record, alerts []alert.Alert) {
		if told {
			r.Story.Tell(record, alerts)
		}
		if s.Name == "" {
			r.Period.Tell(record, alerts, r.Story.Names)
		}
		failed = errors.Join(failed, w.record(record))
	}
	var stopped error
	if r.Result, stopped = replay.Run(ctx, s, o); stopped != nil && ctx.Err() == nil {
		return nil, stopped
	}
	if s.Expect != nil && stopped == nil {
		for _, u := range s.Expect.Check(r.Result) {
			r.Unmet = append(r.Unmet, u)
			r.Summary.Unmet = append(r.Summary.Unmet, u.String())
		}
	}
	if err := errors.Join(failed, w.scenario(r)); err != nil {
		return nil, err
	}
	return r, stopped
}

// writer is one of the formats.
type writer interface {
	// begin is before a scenario runs; it reports whether the story of it is wanted.
	begin(name string, s *story.Story) bool
	record(mfa.Record) error
	scenario(*story.Report) error
	end(took time.Duration) error
	unmet() bool
}

func (f *replayFlags) writer(t terminal, out *bufio.Writer, all []replay.Scenario) writer {
	if f.format == "json" {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		return &jsonWriter{Encoder: e}
	}
	w := &textWriter{paper: story.Paper{W: out, Color: t.color(), ASCII: !t.utf8()}, verbose: f.verbose, many: len(all) > 1}
	for _, s := range all {
		w.width = max(w.width, len(s.Name))
	}
	return w
}

// jsonWriter writes one record per line, and a summary for each scenario and for all.
type jsonWriter struct {
	*json.Encoder
	total     replay.Summary
	scenarios int
}

func (w *jsonWriter) begin(string, *story.Story) bool { return false }

func (w *jsonWriter) record(r mfa.Record) error { return w.Encode(r) }

func (w *jsonWriter) scenario(r *story.Report) error {
	w.scenarios++
	w.total.Add(r.Summary)
	return w.Encode(r.Summary)
}

func (w *jsonWriter) end(time.Duration) error {
	if w.scenarios < 2 {
		return nil
	}
	return w.Encode(w.total)
}

func (w *jsonWriter) unmet() bool { return len(w.total.Unmet) > 0 }

// textWriter tells the first scenario as a story and the others in a line each.
type textWriter struct {
	paper         story.Paper
	width         int
	verbose, many bool
	reports       []*story.Report
}

func (w *textWriter) begin(name string, s *story.Story) bool {
	if len(w.reports) > 0 && !w.verbose {
		return false
	}
	s.Begin(&w.paper, name, w.verbose)
	return true
}

func (w *textWriter) record(mfa.Record) error { return nil }

func (w *textWriter) scenario(r *story.Report) error {
	if len(w.reports) == 0 || w.verbose {
		r.Tell(&w.paper, w.verbose)
	} else {
		r.Line(&w.paper, w.width)
	}
	if r.Name == "" {
		r.Period.Write(&w.paper)
	}
	r.Story, r.Period, r.Records, r.Account = story.Story{}, story.Period{}, nil, nil // told; what follows are the sums
	w.reports = append(w.reports, r)
	return w.paper.Err()
}

func (w *textWriter) end(took time.Duration) error {
	if w.many && !w.verbose {
		story.Blank(&w.paper)
	}
	story.Sums(&w.paper, w.reports, took)
	return w.paper.Err()
}

func (w *textWriter) unmet() bool {
	for _, r := range w.reports {
		if len(r.Unmet) > 0 {
			return true
		}
	}
	return false
}

// readPolicy reads the policy record that a flag names.
func readPolicy(flag, path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		_, err = mfa.ParsePolicy(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", flag, path, err)
	}
	return raw, nil
}
