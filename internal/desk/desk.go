// Package desk asks the function override at its function URL: the client's side
// of package request.
//
// It refuses to know what is asked and why. Who asks is AWS's to prove, by the
// signature (Version 4, service lambda).
package desk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/stackflow/relatch/internal/request"
)

const (
	attempts  = 3
	pause     = time.Second // before the second attempt, twice that before the third
	maxAnswer = 1 << 20     // bytes
	answerFor = 30 * time.Second
)

// Desk is the function behind its URL.
type Desk struct {
	URL         string
	Region      string
	Credentials aws.CredentialsProvider
	HTTP        aws.HTTPClient
	Now         func() time.Time
	// Wait waits that long, or until the context ends, whose error it returns.
	Wait func(context.Context, time.Duration) error
}

// Unreachable is the error of a request that nobody answered as package request
// says. What was asked may have been done all the same.
type Unreachable struct {
	// Status is that of an answer by somebody else, such as "403 Forbidden"; empty without one.
	Status string
	Err    error
}

func (u *Unreachable) Error() string { return "ask the function override: " + u.Err.Error() }

func (u *Unreachable) Unwrap() error { return u.Err }

// Ask asks. The error is a *request.Problem if it was refused, an *Unreachable if
// it was not answered. What override could not do now, or what was lost on the
// way, is asked again: it is done once.
func (d *Desk) Ask(ctx context.Context, r request.Request) (request.Answer, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return request.Answer{}, fmt.Errorf("write the request: %w", err)
	}
	for attempt := 1; ; attempt++ {
		answer, err := d.once(ctx, body)
		if err == nil || attempt == attempts || !passes(err) {
			return answer, err
		}
		if d.Wait(ctx, time.Duration(attempt)*pause) != nil {
			return answer, err
		}
	}
}

// passes reports whether it may be another time next time.
func passes(err error) bool {
	if p, ok := errors.AsType[*request.Problem](err); ok {
		return p.Type == request.Unavailable
	}
	u, ok := errors.AsType[*Unreachable](err)
	return ok && (u.Status == "" || u.Status[0] == '5' || u.Status[:3] == "429")
}

func (d *Desk) once(ctx context.Context, body []byte) (request.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(body))
	if err != nil {
		return request.Answer{}, fmt.Errorf("ask the function override: %w", err)
	}
	credentials, err := d.Credentials.Retrieve(ctx)
	if err != nil {
		return request.Answer{}, fmt.Errorf("find AWS credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	post.Header.Set("Content-Type", "application/json")
	post.Header.Set("X-Amz-Content-Sha256", hash)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, post, hash, "lambda", d.Region, d.Now()); err != nil {
		return request.Answer{}, fmt.Errorf("sign the request: %w", err)
	}
	got, err := d.HTTP.Do(post)
	if err != nil {
		return request.Answer{}, &Unreachable{Err: err}
	}
	defer got.Body.Close()
	said, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer))
	if err != nil {
		return request.Answer{}, &Unreachable{Err: err}
	}
	return read(got, said)
}

// read reads what override answered, or somebody in front of it.
func read(got *http.Response, said []byte) (request.Answer, error) {
	media, _, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	switch {
	case err != nil:
	case media == "application/problem+json":
		var p request.Problem
		if json.Unmarshal(said, &p) == nil && p.Type != "" {
			return request.Answer{}, &p
		}
	case media == "application/json" && got.StatusCode/100 == 2:
		var a request.Answer
		if json.Unmarshal(said, &a) == nil && a.Sub != "" {
			return a, nil
		}
	}
	why := got.Status
	if got.StatusCode == http.StatusForbidden {
		why += "; AWS does not let you: it takes lambda:InvokeFunctionUrl, and lambda:InvokeFunction through the URL"
	}
	return request.Answer{}, &Unreachable{Status: got.Status, Err: errors.New(why)}
}
