package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go/logging"

	"github.com/stackflow/relatch/internal/report"
	"github.com/stackflow/relatch/internal/status"
)

// keys are the names of a type's members as JSON, and of those of their types.
func keys(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return keys(t.Elem())
	case reflect.Map:
		return nil
	case reflect.Struct:
	default:
		return nil
	}
	if t == reflect.TypeFor[time.Time]() {
		return nil
	}
	var out []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			out = append(out, name)
		}
		if name != "-" {
			out = append(out, keys(f.Type)...)
		}
	}
	return out
}

func TestHelpNamesEveryKeyOfTheJSON(t *testing.T) {
	for command, types := range map[string][]any{
		"override": {overridden{}, refusal{}},
		"justify":  {answered{}, refusal{}},
		"approve":  {refusal{}},
		"end":      {ended{}, refusal{}},
		"status":   {status.Status{}},
		"report":   {report.Report{}},
	} {
		_, help, _ := relatch(t, nil, command, "--help")
		words := regexp.MustCompile(`[a-z_]+`).FindAllString(help, -1)
		for _, v := range types {
			for _, key := range keys(reflect.TypeOf(v)) {
				if key != "schema" && !slices.Contains(words, key) {
					t.Errorf("relatch %s --help does not name the key %s", command, key)
				}
			}
		}
	}
}

func TestEveryHelpIsOfOneForm(t *testing.T) {
	_, root, _ := relatch(t, nil, "--help")
	for _, command := range []string{"override", "justify", "approve", "end", "status", "report", "doctor", "verify", "replay"} {
		if !regexp.MustCompile(`(?m)^  ` + command + ` +[A-Z]`).MatchString(root) {
			t.Errorf("relatch --help does not name %s", command)
		}
		_, help, _ := relatch(t, nil, command, "--help")
		for _, part := range []string{"\nExit status:", "\nUsage:\n  relatch " + command, "\nExamples:\n  relatch " + command, "\nFlags:\n"} {
			if !strings.Contains(help, part) {
				t.Errorf("relatch %s --help has no %q", command, part)
			}
		}
		text, _, _ := strings.Cut(help, "\nUsage:")
		for line := range strings.Lines(text) {
			if n := len([]rune(line)) - 1; n > 86 {
				t.Errorf("relatch %s --help: %d columns: %s", command, n, line)
			}
		}
	}
}

func TestCtrlCIsANo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, keyboard := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		said := make(chan bool)
		go func() { said <- (terminal{in: in}).confirms(ctx, io.Discard, "Switch MFA off?") }()
		synctest.Wait()
		cancel()
		if <-said {
			t.Error("it was taken for a yes")
		}
		_ = keyboard.Close()
	})
}

func TestTheSDKWritesNothingOfItsOwn(t *testing.T) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		t.Setenv(name, value)
	}
	p, err := (&live{region: "us-east-1"}).open(t.Context(), terminal{now: time.Now, getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	if p.aws.Logger != (logging.Nop{}) {
		t.Errorf("it logs to %T", p.aws.Logger)
	}
}

// TestTheReportOfAMonthEqualsItsRecords replays a month over all scenarios and
// reckons from the records that were printed what the report has to say.
func TestTheReportOfAMonthEqualsItsRecords(t *testing.T) {
	_, records, _ := relatch(t, nil, "replay", "--format", "json", "../../events")
	type told struct {
		Opened, Deadline, Closed time.Time
		Ended                    string
		Justified                bool
	}
	var want []*told
	scenario := map[string]*told{}
	for line := range strings.Lines(records) {
		var r struct {
			Schema   string
			At       time.Time
			Reason   string
			Override *struct {
				ID            string
				Opened        time.Time `json:"opened_at"`
				Deadline      time.Time
				Justification string
				Closed        string
			}
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Schema == "relatch.summary/1":
			clear(scenario)
		case r.Override != nil:
			o := scenario[r.Override.ID]
			if o == nil {
				o = &told{Ended: "open"}
				scenario[r.Override.ID], want = o, append(want, o)
			}
			o.Opened, o.Deadline, o.Justified = r.Override.Opened, r.Override.Deadline, r.Override.Justification == "justified"
			if r.Override.Closed != "" {
				if o.Ended = r.Override.Closed; o.Closed.IsZero() {
					o.Closed = r.At
				}
			} else if r.Reason == "cannot_restore" {
				o.Ended = "unrestorable"
			}
		}
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"report", "--from", "2026-11", "--output", "json", "-"}, terminal{
		in: strings.NewReader(records), out: &out, err: &errs, now: time.Now, getenv: func(string) string { return "" },
	})
	var got report.Report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || code != 0 {
		t.Fatalf("exit status %d: %v %s", code, err, errs.String())
	}
	month := func(at time.Time) bool { return at.Year() == 2026 && at.Month() == time.November }
	want = slices.DeleteFunc(want, func(o *told) bool { return !month(o.Opened) })
	slices.SortStableFunc(want, func(a, b *told) int { return a.Opened.Compare(b.Opened) })
	if len(want) < 100 || len(got.All) != len(want) {
		t.Fatalf("%d overrides in the records, %d in the report", len(want), len(got.All))
	}
	left := map[told]int{}
	for _, o := range want {
		left[*o]++
	}
	for _, o := range got.All {
		if left[told{o.OpenedAt, o.Deadline, o.ClosedAt, string(o.Ended), o.Justified}]--; !o.ClosedAt.IsZero() && o.Seconds != int64(o.ClosedAt.Sub(o.OpenedAt)/time.Second) {
			t.Errorf("%s lasted %d s: %+v", o.ID, o.Seconds, o)
		}
	}
	for o, n := range left {
		if n != 0 {
			t.Errorf("%d times more in the records than in the report: %+v", n, o)
		}
	}
}
