package replay

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProgressCountsEachByteOnceHoweverOftenItIsRead(t *testing.T) {
	t.Parallel()
	one := disableOf("a", nine)
	for name, text := range map[string]string{
		"a log file":               logOf(one, strings.Replace(one, "cognito-idp", "s3", 1)),
		"packed":                   zipped(t, logOf(one, one)),
		"a line each":              one + "\n" + one + "\n",
		"laid out in another way":  `{ "Records" : [ ` + one + "," + one + ` ], "more": 1 }`,
		"packed and a bad trailer": zipped(t, logOf(one, one))[:len(zipped(t, logOf(one, one)))-4],
	} {
		for _, all := range []bool{false, true} {
			dir := tree(t, map[string]string{"one.json": text, "two.json": text, "read.me": "is no delivery"})
			l := Loader{Progress: new(Progress), DecodeAll: all}
			if _, err := l.Load([]string{dir}); err != nil {
				t.Fatal(err)
			}
			if p := l.Progress; p.Files() != 2 || p.Bytes() != 2*int64(len(text)) || p.Records() < 2 {
				t.Errorf("%s, decoding all is %v: %d files, %d bytes, %d records; want 2, %d and at least 2", name, all, p.Files(), p.Bytes(), p.Records(), 2*len(text))
			}
			size, known := l.Size(t.Context(), []string{dir, filepath.Join(dir, "one.json"), filepath.Join(dir, "missing")})
			if size != 3*int64(len(text)) || !known {
				t.Errorf("%s: %d bytes ahead, known is %v; want %d", name, size, known, 3*len(text))
			}
		}
	}
}

func TestTheSizeOfWhatIsOnNoDiskIsNotKnown(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"one.json": disableOf("a", nine)})
	ended, end := context.WithCancel(t.Context())
	end()
	for name, c := range map[string]struct {
		ctx  context.Context
		path string
	}{
		"standard input": {t.Context(), "-"}, "a bucket": {t.Context(), "s3://bucket/AWSLogs"}, "a device": {t.Context(), os.DevNull}, "a folder not listed to its end": {ended, dir},
	} {
		if size, known := new(Loader).Size(c.ctx, []string{dir, c.path}); known {
			t.Errorf("%s: %d bytes", name, size)
		}
	}
}
