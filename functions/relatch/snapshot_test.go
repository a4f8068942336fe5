package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/snapshot"
	"github.com/stackflow/relatch/internal/wiretest"
)

// snapshotOf runs the command until the context ends.
func snapshotOf(ctx context.Context, args ...string) (code int, errs string) {
	var text bytes.Buffer
	code = run(ctx, append([]string{"snapshot", "--share", "1"}, args...), terminal{
		in: strings.NewReader(""), out: &bytes.Buffer{}, err: &text, now: time.Now, wait: wait, getenv: os.Getenv,
	})
	return code, text.String()
}

func TestASnapshotOfLivePoolsIsWhatAReplayStartsFrom(t *testing.T) {
	d := observe(t)
	dir := t.TempDir()
	maria := d.Add(t, wiretest.Person{Pool: d.Pool, Name: "maria", Roles: []mfa.Role{"itsm_manager", "cloud_admin"}, Registered: []mfa.Factor{mfa.TOTP, mfa.SMS}, Factors: []mfa.Factor{mfa.TOTP, mfa.SMS}})
	ben := d.Add(t, wiretest.Person{Pool: d.EmailPool, Name: "ben@example.com", Registered: []mfa.Factor{mfa.SMS}})
	for i := range 70 { // more than a page
		_, err := d.Cognito.AdminCreateUser(t.Context(), &cognitoidentityprovider.AdminCreateUserInput{
			UserPoolId: new(string(d.Pool)), Username: new(fmt.Sprintf("user-%02d", i)), MessageAction: types.MessageActionTypeSuppress,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Cognito.AdminDisableUser(t.Context(), &cognitoidentityprovider.AdminDisableUserInput{UserPoolId: new(string(d.Pool)), Username: new("user-07")}); err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(dir, "whole.json")
	if code, errs := snapshotOf(t.Context(), "--output", whole); code != 0 || !strings.Contains(errs, "72 users in "+whole) {
		t.Fatalf("exit status %d: %s", code, errs)
	}

	t.Run("who and what is in it", func(t *testing.T) {
		raw, err := os.ReadFile(whole)
		if err != nil {
			t.Fatal(err)
		}
		file, err := account.ParseFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		pools := []account.PoolFile{
			{ID: d.Pool, Mode: mfa.ModeOptional, Factors: []mfa.Factor{mfa.TOTP, mfa.SMS}, PreToken: new(true)},
			{ID: d.EmailPool, Mode: mfa.ModeOptional, Factors: []mfa.Factor{mfa.TOTP, mfa.SMS}, PreToken: new(true)},
		}
		if diff := cmp.Diff(pools, file.Pools); diff != "" {
			t.Errorf("pools (-want +got):\n%s", diff)
		}
		users := map[mfa.Sub]account.UserFile{}
		disabled := 0
		for _, u := range file.Users {
			if u.CreatedAt.Before(time.Now().Add(-time.Hour)) || u.CreatedAt.After(time.Now().Add(time.Minute)) {
				t.Errorf("%s was created at %s", u.Sub, u.CreatedAt)
			}
			u.CreatedAt = time.Time{}
			users[u.Sub] = u
			if !*u.Enabled {
				disabled++
			}
		}
		for _, want := range []account.UserFile{
			{Pool: d.Pool, Sub: maria, Username: "maria", Enabled: new(true), Roles: []mfa.Role{"cloud_admin", "itsm_manager"}, Factors: []mfa.Factor{mfa.TOTP, mfa.SMS}, Registered: []mfa.Factor{mfa.TOTP, mfa.SMS}, Preferred: mfa.TOTP},
			{Pool: d.EmailPool, Sub: ben, Username: string(ben), Enabled: new(true), Roles: []mfa.Role{}, Factors: []mfa.Factor{}, Registered: []mfa.Factor{mfa.SMS}},
		} {
			if diff := cmp.Diff(want, users[want.Sub]); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		if len(users) != 72 || disabled != 1 || strings.Contains(string(raw), "ben@") || strings.Contains(string(raw), "+1202") {
			t.Errorf("%d users, %d disabled, in\n%s", len(users), disabled, raw)
		}
	})

	t.Run("a replay infers nothing", func(t *testing.T) {
		log := filepath.Join(dir, "log.json")
		record := func(id string, sub mfa.Sub) string {
			return `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","arn":"` + ops7 + `"},"eventTime":"2027-01-04T03:12:04Z","eventSource":"cognito-idp.amazonaws.com",` +
				`"eventName":"AdminSetUserMFAPreference","requestParameters":{"userPoolId":"` + string(d.Pool) + `","softwareTokenMfaSettings":{"enabled":false},"sMSMfaSettings":{"enabled":false}},` +
				`"additionalEventData":{"sub":"` + string(sub) + `"},"eventID":"` + id + `"}`
		}
		if err := os.WriteFile(log, []byte(`{"Records":[`+record("e-1", maria)+`,`+record("e-2", "somebody-else")+`]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := relatch(t, map[string]string{"LANG": "C.UTF-8"}, "replay", "--account", whole, log)
		if code != 0 || errs != "" {
			t.Errorf("exit status %d: %s", code, errs)
		}
		has(t, out, "PAGE      maria (cloud_admin +1) can sign in without MFA", "TOTP and SMS on again", "ignored: no_such_user 1", "1 override = 1 restored")
	})

	t.Run("interrupted and gone on with", func(t *testing.T) {
		target, err := url.Parse(*d.Moto.BaseEndpoint)
		if err != nil {
			t.Fatal(err)
		}
		moto := httputil.NewSingleHostReverseProxy(target)
		moto.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {} // of requests that Ctrl-C ended
		ctx, ctrlC := context.WithCancel(t.Context())
		defer ctrlC()
		var looks atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".AdminGetUser") && looks.Add(1) == 50 {
				ctrlC()
			}
			moto.ServeHTTP(w, r)
		}))
		defer server.Close()
		path := filepath.Join(dir, "interrupted.json")
		code, errs := snapshotOf(ctx, "--output", path, "--endpoint-url", server.URL)
		if _, err := os.Stat(snapshot.Partial(path)); code != exitUnmet || err != nil || !strings.Contains(errs, "of 72 users have been looked at, and the same command goes on from there") {
			t.Errorf("exit status %d: %s; notes: %v", code, errs, err)
		}
		before := looks.Load()
		if code, errs := snapshotOf(t.Context(), "--output", path, "--endpoint-url", server.URL); code != 0 {
			t.Errorf("exit status %d: %s", code, errs)
		}
		if more := looks.Load() - before; more >= 72 {
			t.Errorf("%d users were looked at, and then %d", before, more)
		}
		want, err := os.ReadFile(whole)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if diff := cmp.Diff(string(want), string(got)); diff != "" || err != nil {
			t.Errorf("%v (-in one go +interrupted):\n%s", err, diff)
		}
	})

	t.Run("only members of one pool, named twice", func(t *testing.T) {
		path := filepath.Join(dir, "members.json")
		if code, errs := snapshotOf(t.Context(), "--pool", string(d.Pool)+","+string(d.Pool), "--role", "cloud_admin", "--output", path); code != 0 {
			t.Fatalf("exit status %d: %s", code, errs)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if file, err := account.ParseFile(raw); err != nil || len(file.Users) != 1 || file.Users[0].Sub != maria || len(file.Pools) != 1 {
			t.Errorf("%v: %s", err, raw)
		}
	})

	t.Run("what cannot be done", func(t *testing.T) {
		for _, c := range []struct {
			code int
			want string
			args []string
		}{
			{exitUsage, "--share: 2 is not above 0 and at most 1", []string{"--share", "2"}},
			{exitUsage, "no FILE given", []string{"--output", ""}},
			{exitUsage, "pool us-east-1_NOSUCH123: get pool:", []string{"--pool", "us-east-1_NOSUCH123", "--output", filepath.Join(dir, "none.json")}},
			{exitUsage, "no such file or directory", []string{"--output", filepath.Join(dir, "none", "none.json")}},
		} {
			if code, errs := snapshotOf(t.Context(), c.args...); code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("%v: exit status %d: %s", c.args, code, errs)
			}
		}
	})
}

func TestHowFarASnapshotIs(t *testing.T) {
	from := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	for want, p := range map[string]snapshot.Progress{
		"45,600 users listed":                                     {Listed: 45600},
		"0 of 1,000,000 users":                                    {Listed: 1e6, LookedFrom: from},
		"700,000 of 700,000 users":                                {Listed: 7e5, Looked: 7e5, Kept: 7e5, LookedFrom: from},
		"150 of 200 users, 10 a second, 5 s left":                 {Listed: 200, Looked: 150, Kept: 50, LookedFrom: from},
		"1,150 of 1,000,000 users, 15 a second, 18 h 30 min left": {Listed: 1e6, Looked: 1150, Kept: 1000, LookedFrom: from},
	} {
		if got := taking(p, from.Add(10*time.Second)); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}

func TestProgressIsDrawnOnATerminalAndWiped(t *testing.T) {
	for _, c := range []struct {
		name     string
		terminal bool
		env      string
		took     time.Duration
		want     string
	}{
		{"a terminal", true, "xterm", 1600 * time.Millisecond, "\r\x1b[?7lhalf\x1b[K\x1b[?7h\r\x1b[?7lhalf\x1b[K\x1b[?7h\r\x1b[?7lhalf\x1b[K\x1b[?7h\r\x1b[K"},
		{"what is quickly done", true, "xterm", 900 * time.Millisecond, ""},
		{"a pipe", false, "xterm", time.Hour, ""},
		{"a dumb terminal", true, "dumb", time.Hour, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var errs bytes.Buffer
			aside := false
			on := terminal{err: &errs, errIsTerminal: c.terminal, wait: wait, getenv: func(string) string { return c.env }}
			stop := on.shows(func() string { return "half" }, func(ctx context.Context) {
				<-ctx.Done()
				aside = true
			})
			if err := wait(t.Context(), c.took); err != nil {
				t.Error(err)
			}
			stop()
			if errs.String() != c.want || aside != (c.want != "") {
				t.Errorf("%s: %q, want %q; what runs aside has ended: %v", c.name, errs.String(), c.want, aside)
			}
		})
	}
}

func TestHowFarReadingIs(t *testing.T) {
	for _, c := range []struct {
		want                  string
		bytes, total, records int64
		took                  time.Duration
	}{
		{"1.23 GB read, 123 MB/s, 12,345,678 records", 1_234_000_000, 0, 12_345_678, 10 * time.Second},
		{" 42% [#####.......] 1.23 GB of 2.94 GB, 14 s left, 123 MB/s, 12,345,678 records", 1_234_000_000, 2_938_000_000, 12_345_678, 10 * time.Second},
		{"0.00 kB read, 0.00 kB/s, 0 records", 0, 5000, 0, time.Second},
		{"100% [############] 99.9 kB of 99.9 kB, 0 s left, 9.99 kB/s, 7 records", 99_900, 99_900, 7, 10 * time.Second},
		{" 10% [#...........] 100 GB of 1.00 TB, 10 h left, 25.0 MB/s, 0 records", 100e9, 1000e9, 0, 4000 * time.Second},
		{"2.00 kB read, 2.00 kB/s, 1 records", 2000, 1000, 1, time.Second},
	} {
		if got := reading(c.bytes, c.total, c.records, c.took); got != c.want {
			t.Errorf("%q\nwant %q", got, c.want)
		}
	}
}
