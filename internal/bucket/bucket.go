// Package bucket reads archives in S3: it lists folder by folder and leaves out
// what the filter leaves out before it is listed, and it has the objects at hand
// before they are asked for.
//
// It only reads (ListBucket and GetObject), and refuses to know what is in an
// object.
package bucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	scheme = "s3://"
	// piece is how much of an object is read at a time, in bytes: seldom less than
	// all of what CloudTrail writes at once.
	piece = 1 << 20
	// lists and ahead are how many folders are listed at once, and of how many
	// objects the first piece is at hand or on the way.
	lists, ahead = 8, 16
	attempts     = 5
)

// Is reports whether the path is that of a place in S3: s3://bucket or s3://bucket/prefix.
func Is(path string) bool { return strings.HasPrefix(path, scheme) }

// S3 is Amazon S3 as one caller may read it.
type S3 struct{ client *s3.Client }

// Open returns S3 for the caller of this configuration. A bucket may be in any
// Region; without an endpoint in the configuration S3 is asked in which.
func Open(c aws.Config) *S3 {
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	return &S3{s3.NewFromConfig(c, func(o *s3.Options) {
		o.UsePathStyle = o.BaseEndpoint != nil
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = attempts })
		o.DisableLogOutputChecksumValidationSkipped = true
	})}
}

// Object is one object of a bucket.
type Object struct {
	// Name is its whole address, such as s3://bucket/AWSLogs/….
	Name string

	s3          *S3
	ctx         context.Context // of the walk: io.Reader has none
	bucket, key string
	tag         string
	region      string
	size, at    int64
	start       int64  // where of the object data is
	data        []byte // the piece at hand
	close       func()
}

// place is a folder of a bucket: its key ends with a slash, or is empty.
type place struct{ bucket, region, prefix string }

func (p place) String() string { return scheme + p.bucket + "/" + p.prefix }

// Walk calls object for every object under the address that is taken, the first
// piece of it read, and broken for what cannot be listed or read, with its address.
// An address names one object or a folder. takes is asked for every folder
// (whose address ends without a slash) and every object. Whoever gets an object
// closes it. object and broken may be called by several goroutines at once. The
// error is the context's.
func (s *S3) Walk(ctx context.Context, address string, takes func(address string, folder bool) bool, object func(*Object), broken func(address string, folder bool, err error)) error {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(address, scheme), "/")
	region, err := s.home(ctx, bucket)
	if err != nil {
		broken(address, true, err)
		return ctx.Err()
	}
	w := &walk{S3: s, takes: takes, object: object, broken: broken, slots: make(chan struct{}, lists), pieces: make(chan struct{}, ahead)}
	w.folder(ctx, place{bucket, region, prefix})
	w.all.Wait()
	return ctx.Err()
}

// home is the Region of a bucket, which S3 says also where it refuses or redirects.
func (s *S3) home(ctx context.Context, bucket string) (string, error) {
	o := s.client.Options()
	if o.BaseEndpoint != nil {
		return o.Region, nil
	}
	out, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	if err == nil {
		return cmp.Or(aws.ToString(out.BucketRegion), o.Region), nil
	}
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		if region := r.HTTPResponse().Header.Get("x-amz-bucket-region"); region != "" {
			return region, nil
		}
		if r.HTTPStatusCode() == http.StatusForbidden {
			return o.Region, nil // a listing says more
		}
	}
	return "", plain(err)
}

// plain is what S3 says, without the SDK's words around it.
func plain(err error) error {
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return err
	}
	if e.ErrorMessage() == "" {
		return errors.New(e.ErrorCode())
	}
	return fmt.Errorf("%s: %s", e.ErrorCode(), e.ErrorMessage())
}

// walk is one walk.
type walk struct {
	*S3
	takes  func(string, bool) bool
	object func(*Object)
	broken func(string, bool, error)
	slots  chan struct{} // listings
	pieces chan struct{} // objects that are open, or about to be
	all    sync.WaitGroup
}

// folder lists a folder and those in it: each beside this one while few are listed,
// else after it, so that not many are waiting.
func (w *walk) folder(ctx context.Context, p place) {
	below, err := w.list(ctx, p)
	if err != nil && ctx.Err() == nil {
		w.broken(strings.TrimSuffix(p.String(), "/"), true, plain(err))
	}
	for _, prefix := range below {
		next := place{p.bucket, p.region, prefix}
		select {
		case w.slots <- struct{}{}:
			w.all.Go(func() {
				defer func() { <-w.slots }()
				w.folder(ctx, next)
			})
		default:
			w.folder(ctx, next)
		}
	}
}

// list fetches the objects of a folder and returns the folders in it. A prefix that
// does not end with a slash may be that of an object, or of a folder.
func (w *walk) list(ctx context.Context, p place) (below []string, err error) {
	pages := s3.NewListObjectsV2Paginator(w.client, &s3.ListObjectsV2Input{Bucket: &p.bucket, Prefix: &p.prefix, Delimiter: aws.String("/")})
	within := func(key string) bool { // AWSLogs is not the beginning of AWSLogsOld
		return p.prefix == "" || strings.HasSuffix(p.prefix, "/") || key == p.prefix || strings.HasPrefix(key, p.prefix+"/")
	}
	for pages.HasMorePages() && ctx.Err() == nil {
		page, err := pages.NextPage(ctx, in(p.region))
		if err != nil {
			return below, err
		}
		for _, f := range page.CommonPrefixes {
			prefix := aws.ToString(f.Prefix)
			if within(prefix) && w.takes(strings.TrimSuffix(place{p.bucket, "", prefix}.String(), "/"), true) {
				below = append(below, prefix)
			}
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if name := (place{p.bucket, "", key}).String(); within(key) && !strings.HasSuffix(key, "/") && w.takes(name, false) {
				w.fetch(ctx, &Object{
					Name: name, s3: w.S3, ctx: ctx, bucket: p.bucket, key: key, region: p.region,
					tag: aws.ToString(o.ETag), size: aws.ToInt64(o.Size),
				})
			}
		}
	}
	return below, nil
}

// fetch reads the first piece of an object while others are, and hands it over.
// It waits while enough are at hand.
func (w *walk) fetch(ctx context.Context, o *Object) {
	select {
	case w.pieces <- struct{}{}:
	case <-ctx.Done():
		return
	}
	o.close = sync.OnceFunc(func() { <-w.pieces })
	w.all.Go(func() {
		if err := o.piece(0); err != nil {
			o.close()
			if ctx.Err() == nil {
				w.broken(o.Name, false, plain(err))
			}
			return
		}
		w.object(o)
	})
}

func in(region string) func(*s3.Options) { return func(o *s3.Options) { o.Region = region } }

// piece reads the piece that begins here. What breaks on the way is asked for again.
func (o *Object) piece(at int64) error {
	n := min(o.size-at, piece)
	if n <= 0 {
		o.start, o.data = at, nil
		return nil
	}
	if int64(cap(o.data)) < n {
		o.data = make([]byte, n)
	}
	o.start, o.data = at, o.data[:n]
	var err error
	for attempt := range attempts {
		if attempt > 0 {
			if err := pause(o.ctx, attempt); err != nil {
				return err
			}
		}
		var out *s3.GetObjectOutput
		out, err = o.s3.client.GetObject(o.ctx, &s3.GetObjectInput{
			Bucket: &o.bucket, Key: &o.key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", at, at+n-1)), IfMatch: &o.tag,
		}, in(o.region))
		if err != nil {
			break // the SDK has asked again
		}
		_, err = io.ReadFull(out.Body, o.data)
		if err = errors.Join(err, out.Body.Close()); err == nil {
			return nil
		}
	}
	o.data = o.data[:0]
	return err
}

// pause waits a little longer each time.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(time.Duration(attempt*attempt) * 100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ReadAt implements io.ReaderAt, for one goroutine at a time.
func (o *Object) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		if at >= o.size {
			return n, io.EOF
		}
		if at < o.start || at >= o.start+int64(len(o.data)) {
			if err := o.piece(at); err != nil {
				return n, plain(err)
			}
		}
		some := copy(p[n:], o.data[at-o.start:])
		n, at = n+some, at+int64(some)
	}
	return n, nil
}

// Read implements io.Reader.
func (o *Object) Read(p []byte) (int, error) {
	n, err := o.ReadAt(p, o.at)
	if o.at += int64(n); n > 0 {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker.
func (o *Object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.at
	case io.SeekEnd:
		offset += o.size
	}
	if offset < 0 {
		return o.at, errors.New("seek: before the beginning")
	}
	o.at = offset
	return o.at, nil
}

// Close implements io.Closer: another object is fetched.
func (o *Object) Close() error {
	o.data = nil
	o.close()
	return nil
}
