package request

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
)

const author = "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7"

var (
	noon  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	whole = Request{
		Do: Justify, Pool: "us-east-1_EXAMPLE12", Sub: "s-1", Reason: "Téléphone volé hier soir à Lyon", Ticket: "CHG0012345",
		Cause: mfa.LostDevice, RequestID: "7",
	}
)

func TestARequestIsReadAsItWasWritten(t *testing.T) {
	approve := Request{Do: Approve, Pool: "us-east-1_EXAMPLE12", Sub: "s-1", Justification: "J-1"}
	end := Request{Do: End, Pool: "us-east-1_EXAMPLE12", Sub: "s-1"}
	for want, r := range map[string]Request{
		`{"do":"justify","pool_id":"us-east-1_EXAMPLE12","sub":"s-1","reason":"Téléphone volé hier soir à Lyon","ticket":"CHG0012345","cause":"lost_device","request_id":"7"}`: whole,
		`{"do":"approve","pool_id":"us-east-1_EXAMPLE12","sub":"s-1","justification":"J-1"}`:                                                                                   approve,
		`{"do":"end","pool_id":"us-east-1_EXAMPLE12","sub":"s-1"}`:                                                                                                             end,
	} {
		raw, err := json.Marshal(r)
		if err != nil || string(raw) != want {
			t.Errorf("%s, %v, want %s", raw, err, want)
		}
		got, err := Read(raw)
		if diff := cmp.Diff(r, got); err != nil || diff != "" {
			t.Errorf("%v (-written +read):\n%s", err, diff)
		}
	}
	got, err := Read([]byte(`{"do":"justify","pool_id":"p","sub":"s","reason":"x"}`))
	if err != nil || got.Cause != mfa.OtherCause {
		t.Errorf("the cause is %q by default, %v", got.Cause, err)
	}
	long := whole
	long.Reason, long.Ticket = strings.Repeat("携", MaxReason), strings.Repeat("1", MaxTicket)
	raw, err := json.Marshal(long)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(raw); err != nil {
		t.Errorf("the longest that is taken: %v", err)
	}
}

func TestAnIDIsOfTheRequestAndItsAuthorAlone(t *testing.T) {
	first := whole.Record(author, noon.Add(time.Millisecond))
	want := mfa.Justification{
		ID: first.ID, Reason: whole.Reason, Ticket: whole.Ticket, Cause: whole.Cause, Author: author, At: noon,
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if later := whole.Record(author, noon.Add(time.Hour)); later.ID != first.ID {
		t.Errorf("the IDs of one request are %s and %s", first.ID, later.ID)
	}
	ids := map[string]bool{first.ID: true, whole.Record(author+"0", noon).ID: true}
	for _, change := range []func(*Request){
		func(r *Request) { r.Pool += "2" }, func(r *Request) { r.Sub += "2" }, func(r *Request) { r.Reason += "2" }, func(r *Request) { r.Ticket += "2" },
		func(r *Request) { r.Cause = mfa.BrokenApp }, func(r *Request) { r.RequestID = "" }, func(r *Request) { r.Reason, r.Ticket = r.Reason+r.Ticket, "" },
	} {
		r := whole
		change(&r)
		ids[r.Record(author, noon).ID] = true
	}
	if len(ids) != 9 {
		t.Errorf("nine requests have %d IDs: %v", len(ids), ids)
	}
}

func FuzzReadIsTotal(f *testing.F) {
	for _, seed := range []string{
		`{"do":"justify","pool_id":"p","sub":"s","reason":"x","ticket":"CHG0012345","cause":"other","request_id":"1"}`,
		`{"do":"approve","pool_id":"p","sub":"s","justification":"J-1"}`, `{"do":"end","pool_id":"p","sub":"s","author":"x"}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := Read(raw)
		problem, ok := errors.AsType[*Problem](err)
		switch {
		case err == nil:
			if r.Pool == "" || r.Sub == "" || r.Do == Approve && r.Justification == "" || r.wrong() != "" {
				t.Errorf("%q is read as %+v", raw, r)
			}
			r.Record(author, noon)
		case !ok || problem.Type != Malformed && problem.Type != TooLarge || problem.Detail == "" || r != (Request{}):
			t.Errorf("%q: %+v, %v", raw, r, err)
		}
	})
}

func TestEveryTypeHasAStatusAndATitle(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Type" {
				declared++
			}
		}
		return true
	})
	titles := map[string]bool{}
	for kind := range types {
		p := New(kind, "why")
		if p.Status < 400 || p.Title == "" || titles[p.Title] || p.Error() != "why" || kind != Type("urn:relatch:problem:"+kind.Name()) {
			t.Errorf("%+v", p)
		}
		titles[p.Title] = true
	}
	if declared != len(types) {
		t.Errorf("of %d types %d have a status", declared, len(types))
	}
}

func TestAProblemSaysEachFailedRule(t *testing.T) {
	policy := mfa.DefaultPolicy()
	p := Failed([]mfa.Rule{mfa.RuleTooShort, mfa.RuleBoilerplate, mfa.RuleTicket}, policy)
	raw, err := json.Marshal(p)
	const want = `{"type":"urn:relatch:problem:failed_rules","title":"The policy's rules are not met","status":422,` +
		`"detail":"the reason has fewer than 15 characters; the reason says nothing about this case; the ticket does not match ^(INC|CHG)[0-9]{7}$",` +
		`"failed_rules":["too_short","boilerplate","ticket"]}`
	if err != nil || string(raw) != want {
		t.Errorf("%v, have %s\nwant %s", err, raw, want)
	}
	used := Used("CHG0012345", mfa.TicketUse{Sub: "s-2", At: time.Date(2026, 11, 2, 23, 0, 0, 0, time.UTC)})
	if used.Detail != "ticket CHG0012345 was used on 2026-11-02 for another user" {
		t.Errorf("%+v", used)
	}
}
