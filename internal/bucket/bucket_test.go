package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mototest"
)

// wire is the way to S3: it remembers which folders were listed, and may break.
type wire struct {
	mu     sync.Mutex
	listed []string
	// answers replaces what comes back, if it is not nil.
	answers func(*http.Request, *http.Response)
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	if q := r.URL.Query(); q.Has("list-type") {
		w.mu.Lock()
		w.listed = append(w.listed, q.Get("prefix"))
		w.mu.Unlock()
	}
	answer, err := http.DefaultClient.Do(r) //nolint:gosec // G704: to the server that the test started
	if err == nil && w.answers != nil {
		w.answers(r, answer)
	}
	return answer, err
}

// filled is S3 with a bucket "logs" that has these objects.
func filled(t *testing.T, objects map[string]string) (*S3, *wire) {
	t.Helper()
	c := mototest.Start(t)
	w := &wire{}
	c.HTTPClient = w
	s := Open(c)
	_, err := s.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("logs")})
	if err != nil && !strings.Contains(err.Error(), "BucketAlreadyOwnedByYou") {
		t.Fatal(err)
	}
	for key, text := range objects {
		if _, err := s.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("logs"), Key: &key, Body: strings.NewReader(text)}); err != nil {
			t.Fatal(err)
		}
	}
	return s, w
}

// walked is what a walk hands over, by address, and what it says is broken.
func walked(t *testing.T, s *S3, address string, takes func(string, bool) bool) (objects, broken map[string]string) {
	t.Helper()
	objects, broken = map[string]string{}, map[string]string{}
	var mu sync.Mutex
	err := s.Walk(t.Context(), address, takes, func(o *Object) {
		defer func() { _ = o.Close() }()
		raw, err := io.ReadAll(o)
		mu.Lock()
		defer mu.Unlock()
		if objects[o.Name] = string(raw); err != nil {
			broken[o.Name] = err.Error()
		}
	}, func(address string, _ bool, err error) {
		mu.Lock()
		defer mu.Unlock()
		broken[address] = err.Error()
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects, broken
}

func all(string, bool) bool { return true }

func TestWhatIsLeftOutIsNotListed(t *testing.T) {
	objects := map[string]string{"other/x.json": "x", "AWSLogsOld/x.json": "x", "top.json": "top"}
	for i := range 40 {
		objects[fmt.Sprintf("AWSLogs/1/CloudTrail/us-east-1/2026/11/%02d/a.json", 1+i%20)] = fmt.Sprint(i)
	}
	s, w := filled(t, objects)
	got, broken := walked(t, s, "s3://logs/AWSLogs", func(address string, folder bool) bool {
		return folder && !strings.HasSuffix(address, "/05") || strings.HasSuffix(address, "/06/a.json")
	})
	want := map[string]string{"s3://logs/AWSLogs/1/CloudTrail/us-east-1/2026/11/06/a.json": objects["AWSLogs/1/CloudTrail/us-east-1/2026/11/06/a.json"]}
	if diff := cmp.Diff(want, got); diff != "" || len(broken) > 0 {
		t.Errorf("%v (-want +got):\n%s", broken, diff)
	}
	if len(w.listed) != 7+19 || slices.Contains(w.listed, "AWSLogs/1/CloudTrail/us-east-1/2026/11/05/") || slices.Contains(w.listed, "AWSLogsOld/") {
		t.Errorf("listed were %d folders: %v", len(w.listed), w.listed)
	}
	for address, n := range map[string]int{"s3://logs": 23, "s3://logs/": 23, "s3://logs/AWSLogs/": 20, "s3://logs/top.json": 1, "s3://logs/AWSLogs/1/CloudTrail/us-east-1/2026/11/07": 1, "s3://logs/AWS": 0} {
		if got, broken := walked(t, s, address, all); len(got) != n || len(broken) > 0 {
			t.Errorf("%s has %d objects, want %d; %v", address, len(got), n, broken)
		}
	}
}

func TestWhatMayNotBeReadIsNamedAndTheRestIsHandedOver(t *testing.T) {
	s, w := filled(t, map[string]string{"a/1.json": "one", "a/2.json": "two", "b/3.json": "three", "c/4.json": ""})
	w.answers = func(r *http.Request, answer *http.Response) {
		if strings.HasSuffix(r.URL.Path, "2.json") || r.URL.Query().Get("prefix") == "b/" {
			answer.StatusCode = http.StatusForbidden
			answer.Body = io.NopCloser(strings.NewReader("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"))
		}
	}
	got, broken := walked(t, s, "s3://logs", all)
	if diff := cmp.Diff(map[string]string{"s3://logs/a/1.json": "one", "s3://logs/c/4.json": ""}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"s3://logs/a/2.json": "AccessDenied: Access Denied", "s3://logs/b": "AccessDenied: Access Denied"}, broken); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, broken := walked(t, s, "s3://nobody-has-this/x", all); !strings.HasPrefix(broken["s3://nobody-has-this/x"], "NoSuchBucket") {
		t.Errorf("a bucket that is not there: %v", broken)
	}
}

func TestWhatBreaksOnTheWayIsAskedForAgain(t *testing.T) {
	text := strings.Repeat("0123456789", piece/4)
	s, w := filled(t, map[string]string{"large.json": text})
	var broke sync.Once
	w.answers = func(r *http.Request, answer *http.Response) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "large.json") {
			broke.Do(func() { answer.Body = io.NopCloser(io.LimitReader(answer.Body, 1000)) })
		}
	}
	got, broken := walked(t, s, "s3://logs/large.json", all)
	if got["s3://logs/large.json"] != text || len(broken) > 0 {
		t.Errorf("%d bytes of %d; %v", len(got["s3://logs/large.json"]), len(text), broken)
	}
}

func TestAnObjectIsReadAgainFromTheStart(t *testing.T) {
	text := strings.Repeat("0123456789", piece/4)
	s, _ := filled(t, map[string]string{"large.json": text})
	err := s.Walk(t.Context(), "s3://logs/", all, func(o *Object) {
		defer func() { _ = o.Close() }()
		for range 2 {
			if raw, err := io.ReadAll(o); err != nil || string(raw) != text {
				t.Errorf("%d bytes of %d; %v", len(raw), len(text), err)
			}
			if _, err := o.Seek(0, io.SeekStart); err != nil {
				t.Error(err)
			}
		}
		var some [10]byte
		if n, err := o.ReadAt(some[:], int64(len(text))-5); n != 5 || !errors.Is(err, io.EOF) || !bytes.Equal(some[:5], []byte("56789")) {
			t.Errorf("%d, %v, %q", n, err, some)
		}
		if size, err := o.Seek(0, io.SeekEnd); err != nil || size != int64(len(text)) {
			t.Errorf("%d, %v", size, err)
		}
	}, func(address string, _ bool, err error) { t.Errorf("%s: %v", address, err) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestAWalkEndsWithItsContext(t *testing.T) {
	objects := map[string]string{}
	for i := range 3 * ahead {
		objects[fmt.Sprintf("%02d.json", i)] = "x"
	}
	s, _ := filled(t, objects)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	seen := map[string]bool{}
	err := s.Walk(ctx, "s3://logs", all, func(o *Object) { // nobody closes it, so no more come than may be ahead
		mu.Lock()
		defer mu.Unlock()
		if seen[o.Name] = true; len(seen) == ahead {
			cancel()
		}
	}, func(address string, _ bool, err error) { t.Errorf("%s: %v", address, err) })
	if !errors.Is(err, context.Canceled) || len(seen) != ahead {
		t.Errorf("%v; %v", err, slices.Sorted(maps.Keys(seen)))
	}
}
