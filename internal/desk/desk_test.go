package desk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/stackflow/relatch/internal/request"
)

var end = request.Request{Do: request.End, Pool: "us-east-1_EXAMPLE12", Sub: "s-1"}

// asked asks a server that answers as the functions say, one after the other,
// and the last one from then on. It returns how often it was asked.
func asked(t *testing.T, answers ...http.HandlerFunc) (request.Answer, int, error) {
	t.Helper()
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers[min(int(n.Add(1)), len(answers))-1](w, r)
	}))
	defer server.Close()
	d := Desk{
		URL: server.URL, Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", "token"), HTTP: server.Client(),
		Now:  func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) },
		Wait: func(context.Context, time.Duration) error { return nil },
	}
	answer, err := d.Ask(t.Context(), end)
	return answer, int(n.Load()), err
}

func says(status int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const (
	done   = `{"pool_id":"us-east-1_EXAMPLE12","sub":"s-1","at":"2026-11-23T12:00:00Z","override":"O-1"}`
	busy   = `{"type":"urn:relatch:problem:unavailable","status":503,"detail":"later"}`
	closed = `{"type":"urn:relatch:problem:nothing_open","status":409,"detail":"no override of the user is open"}`
)

func TestARequestIsSigned(t *testing.T) {
	answer, _, err := asked(t, func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var got request.Request
		if err := json.Unmarshal(raw, &got); err != nil || got != end {
			t.Errorf("%s, %v", raw, err)
		}
		const want = "AWS4-HMAC-SHA256 Credential=AKID/20261123/eu-west-1/lambda/aws4_request, SignedHeaders=content-length;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature="
		if signature := r.Header.Get("Authorization"); !strings.HasPrefix(signature, want) {
			t.Errorf("signed %s", signature)
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Amz-Security-Token") != "token" {
			t.Errorf("%s %v", r.Method, r.Header)
		}
		says(http.StatusAccepted, "application/json", done)(w, r)
	})
	if err != nil || answer.Override != "O-1" {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestWhatPassesIsAskedAgain(t *testing.T) {
	gateway := says(http.StatusBadGateway, "text/html", "<h1>no</h1>")
	for _, c := range []struct {
		name    string
		answers []http.HandlerFunc
		times   int
		problem request.Type
		status  string // of an Unreachable
	}{
		{"busy", []http.HandlerFunc{says(503, "application/problem+json", busy), says(202, "application/json", done)}, 2, "", ""},
		{"too many", []http.HandlerFunc{says(429, "application/json", "{}"), gateway, says(202, "application/json", done)}, 3, "", ""},
		{"busy for long", []http.HandlerFunc{says(503, "application/problem+json", busy)}, 3, request.Unavailable, ""},
		{"refused", []http.HandlerFunc{says(409, "application/problem+json", closed)}, 1, request.NothingOpen, ""},
		{"forbidden", []http.HandlerFunc{says(403, "application/json", `{"Message":"Forbidden"}`)}, 1, "", "403 Forbidden"},
		{"somebody else's page", []http.HandlerFunc{says(200, "text/html", "Please sign in")}, 1, "", "200 OK"},
		{"somebody else's JSON", []http.HandlerFunc{says(200, "application/json", `{"ok":true}`)}, 1, "", "200 OK"},
		{"a gateway", []http.HandlerFunc{gateway}, 3, "", "502 Bad Gateway"},
	} {
		_, times, err := asked(t, c.answers...)
		p, u := &request.Problem{}, &Unreachable{}
		errors.As(err, &p)
		errors.As(err, &u)
		if times != c.times || p.Type != c.problem || u.Status != c.status || (err == nil) != (c.problem == "" && c.status == "") {
			t.Errorf("%s: asked %d times, %v", c.name, times, err)
		}
	}
}

func TestAServerThatIsNotThereIsUnreachable(t *testing.T) {
	_, times, err := asked(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	u, ok := errors.AsType[*Unreachable](err)
	if !ok || u.Status != "" || times != attempts {
		t.Errorf("asked %d times, %v", times, err)
	}
}
