package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mototest"
)

// inS3 puts the files of a folder into a bucket "logs" and returns the endpoint.
func inS3(t *testing.T, folder string) string {
	t.Helper()
	c := mototest.Start(t)
	client := s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("logs")}); err != nil && !strings.Contains(err.Error(), "BucketAlreadyOwnedByYou") {
		t.Fatal(err)
	}
	files := os.DirFS(folder)
	err := fs.WalkDir(files, ".", func(key string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(files, key)
		if err == nil {
			_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("logs"), Key: &key, Body: bytes.NewReader(raw)})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	return *c.BaseEndpoint
}

// What is in S3 is read as a copy of it is, in both ways.
func TestAnArchiveInS3IsReadAsAFolderIs(t *testing.T) {
	folder := t.TempDir()
	for _, file := range madeFiles(t) {
		path := filepath.Join(folder, file.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.packed, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	endpoint := inS3(t, folder)
	for _, args := range [][]string{
		nil,
		{"--no-prefilter"},
		{"--from", "2026-11-02", "--to", "2026-11-03", "--region", "us-east-1"},
		{"--account-id", "444455556666"},
	} {
		args = append([]string{"replay", "--format", "json"}, args...)
		wantCode, want, wantErrs := relatch(t, nil, append(args, filepath.Join(folder, "AWSLogs"))...)
		code, got, errs := relatch(t, nil, append(args, "--endpoint-url", endpoint, "s3://logs/AWSLogs")...)
		if diff := cmp.Diff(want, got); diff != "" || code != wantCode {
			t.Errorf("%v: exit status %d, want %d; (-folder +S3):\n%s", args, code, wantCode, diff)
		}
		if diff := cmp.Diff(strings.ReplaceAll(wantErrs, folder, "s3://logs"), errs); diff != "" {
			t.Errorf("%v, standard error (-folder +S3):\n%s", args, diff)
		}
	}
}

func TestABucketThatIsNotThereIsNamed(t *testing.T) {
	endpoint := inS3(t, t.TempDir())
	code, _, errs := relatch(t, nil, "replay", "--endpoint-url", endpoint, "s3://none/AWSLogs", "../../events/log-file/01-log-file.json")
	if code != exitUsage || !strings.Contains(errs, "s3://none/AWSLogs: cannot be listed: NoSuchBucket") {
		t.Errorf("exit status %d, standard error %q", code, errs)
	}
}

// madeFile is a file of an archive.
type madeFile struct {
	path   string
	packed []byte
}

// madeFiles are an archive of three days, two Regions and two accounts; one file of
// it is cut off.
func madeFiles(t *testing.T) (all []madeFile) {
	t.Helper()
	n := 0
	for _, account := range []string{"111122223333", "444455556666"} {
		for _, region := range []string{"us-east-1", "eu-central-1"} {
			for _, day := range []string{"01", "02", "03"} {
				n++
				at := "2026-11-" + day + "T03:12:0" + strconv.Itoa(n%10) + "Z"
				record := func(service, name, id string) string {
					return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"Root"},"eventTime":%q,"eventSource":"%s.amazonaws.com","eventName":%q,`+
						`"requestParameters":{"userPoolId":"us-east-1_P","softwareTokenMfaSettings":{}},"additionalEventData":{"sub":"u-%d"},"eventID":%q}`, at, service, name, n%4, id)
				}
				text := `{"Records":[` + record("cognito-idp", "AdminSetUserMFAPreference", fmt.Sprint("m", n)) + "," + record("s3", "ListBuckets", fmt.Sprint("o", n)) + "]}"
				var packed bytes.Buffer
				z := gzip.NewWriter(&packed)
				if _, err := z.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
				if err := z.Close(); err != nil {
					t.Fatal(err)
				}
				if n == 8 {
					packed.Truncate(packed.Len() - 20)
				}
				all = append(all, madeFile{fmt.Sprintf("AWSLogs/%s/CloudTrail/%s/2026/11/%s/%s_CloudTrail_%s_202611%sT0315Z_%d.json.gz", account, region, day, account, region, day, n), packed.Bytes()})
			}
		}
	}
	return all
}
