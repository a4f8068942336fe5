package archive

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func day(text string) time.Time {
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return at
}

func TestAPathIsTakenUnlessItTellsThatItIsOfAnotherDayRegionOrAccount(t *testing.T) {
	t.Parallel()
	november := Filter{From: day("2026-11-05"), To: day("2026-11-20")}
	here := Filter{Regions: []string{"us-east-1"}, Accounts: []string{"111122223333"}}
	for _, test := range []struct {
		filter Filter
		path   string
		want   bool
	}{
		{Filter{}, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/2020/01/01/a.json.gz", true},
		{Filter{}, "/x/AWSLogs/111122223333/CloudTrail-Digest", false},
		{november, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/2026", true},
		{november, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/2025", false},
		{november, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/2026/11", true},
		{november, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/2026/10", false},
		{november, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/2026/12", false},
		{november, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/04", false},
		{november, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/05", true},
		{november, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/20/a.json.gz", true},
		{november, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/21/a.json.gz", false},
		{november, "/x/AWSLogs/o-a1b2c3d4e5/111122223333/CloudTrail/us-east-1/2026/11/21", false},
		{november, "/x/2026/11/21/a.json.gz", true},
		{november, "/x/AWSLogs/111122223333/CloudTrail/us-east-1/notes/a.json", true},
		{november, "/x/111122223333_CloudTrail_us-east-1_20261104T2355Z_abc.json.gz", false},
		{november, "/x/111122223333_CloudTrail_us-east-1_20261105T0000Z_abc.json.gz", true},
		{here, "/x/AWSLogs", true},
		{here, "/x/AWSLogs/o-a1b2c3d4e5", true},
		{here, "/x/AWSLogs/o-a1b2c3d4e5/111122223333", true},
		{here, "/x/AWSLogs/o-a1b2c3d4e5/444455556666", false},
		{here, "/x/AWSLogs/444455556666", false},
		{here, "/x/AWSLogs/111122223333/CloudTrail", true},
		{here, "/x/AWSLogs/111122223333/CloudTrail/eu-central-1", false},
		{here, "/x/444455556666_CloudTrail_us-east-1_20261105T0000Z_abc.json.gz", false},
		{here, "/x/111122223333_CloudTrail_eu-central-1_20261105T0000Z_abc.json.gz", false},
		{here, "/x/events.jsonl", true},
	} {
		if got := test.filter.Takes(test.path); got != test.want {
			t.Errorf("%+v takes %s: %v, want %v", test.filter, test.path, got, test.want)
		}
	}
}

func TestAWalkGoesOnBehindAFolderThatCannotBeListedAndListsNoneThatIsLeftOut(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, path := range []string{
		"AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/22/a.json.gz", "AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/23/b.json.gz",
		"AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/24/c.json.gz",
	} {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/23", "AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/24"} {
		path = filepath.Join(root, path)
		if err := errors.Join(os.RemoveAll(path), os.Mkdir(path, 0)); err != nil {
			t.Fatal(err)
		}
	}
	var files, broken []string
	f := Filter{To: day("2026-11-23")}
	err := f.Walk(t.Context(), root, func(path string, _ fs.FileMode) { files = append(files, filepath.Base(path)) }, func(path string, err error) {
		if !errors.Is(err, fs.ErrPermission) {
			t.Error(err)
		}
		broken = append(broken, filepath.Base(path))
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"23"}
	if os.Geteuid() == 0 { // who may list everything
		want = nil
	}
	if diff := cmp.Diff([]string{"a.json.gz"}, files); diff != "" || !slices.Equal(broken, want) {
		t.Errorf("cannot be listed %s, want %s; files (-want +got):\n%s", strings.Join(broken, " "), want, diff)
	}
}
