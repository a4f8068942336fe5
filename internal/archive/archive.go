// Package archive finds, in archives as CloudTrail writes them, the deliveries
// that can matter, at the speed of decompression.
//
// It refuses to know what a delivery means: trail.Sift says which cannot matter,
// trail.Parse reads the others. Where a file is not laid out as AWS lays
// them out it says so, and leaves it to trail.Split.
package archive

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Filter leaves out what the paths in an archive already tell: folders and files
// laid out as CloudTrail lays them out in S3
// (AWSLogs/[o-…/]account/CloudTrail/Region/yyyy/mm/dd/…), and files with
// CloudTrail's names (account_CloudTrail_Region_yyyymmddThhmmZ_….json.gz) wherever
// they are. The day is the one of delivery in UTC, which is
// minutes after the calls, seldom hours. The zero Filter leaves out nothing; nor
// is anything left out whose path does not tell.
type Filter struct {
	From, To time.Time // the first and the last day; zero: without bound
	Regions  []string
	Accounts []string
}

// Empty reports whether nothing is left out.
func (f *Filter) Empty() bool {
	return f.From.IsZero() && f.To.IsZero() && len(f.Regions) == 0 && len(f.Accounts) == 0
}

var (
	accountID = pattern(`^[0-9]{12}$`)
	orgID     = pattern(`^o-[a-z0-9]{10,32}$`)
	logName   = pattern(`^([0-9]{12})_CloudTrail_([a-z0-9-]+)_([0-9]{8})T[0-9]{4}Z_`)
)

func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// Takes reports whether a file, or something in a folder, with this path can be
// what is asked for. Slashes separate its parts.
func (f *Filter) Takes(path string) bool {
	parts := strings.Split(path, "/")
	if m := logName().FindStringSubmatch(parts[len(parts)-1]); m != nil {
		day, err := time.Parse("20060102", m[3])
		if !f.account(m[1]) || !f.region(m[2]) || err == nil && !f.days(day, day) {
			return false
		}
	}
	for i := 0; i+1 < len(parts); i++ {
		if parts[i] != "AWSLogs" {
			continue
		}
		rest := parts[i+1:]
		if orgID().MatchString(rest[0]) {
			rest = rest[1:]
		}
		if len(rest) > 0 && accountID().MatchString(rest[0]) {
			return f.account(rest[0]) && f.inAccount(rest[1:])
		}
	}
	return true
}

// inAccount is about what lies in an account's folder.
func (f *Filter) inAccount(parts []string) bool {
	switch {
	case len(parts) == 0:
		return true
	case parts[0] == "CloudTrail-Digest":
		return false
	case parts[0] != "CloudTrail" || len(parts) == 1:
		return true
	case !f.region(parts[1]):
		return false
	}
	// The layouts of the folders that make up a day: the more are known, the
	// shorter is the time that they can hold.
	for n := min(3, len(parts)-2); n > 0; n-- {
		day, err := time.Parse("2006/01/02"[:[]int{4, 7, 10}[n-1]], strings.Join(parts[2:2+n], "/"))
		if err == nil {
			last := day.AddDate([]int{1, 0, 0}[n-1], []int{0, 1, 0}[n-1], []int{0, 0, 1}[n-1]).AddDate(0, 0, -1)
			return f.days(day, last)
		}
	}
	return true
}

func (f *Filter) account(id string) bool {
	return len(f.Accounts) == 0 || slices.Contains(f.Accounts, id)
}

func (f *Filter) region(name string) bool {
	return len(f.Regions) == 0 || slices.Contains(f.Regions, name)
}

// days reports whether one of these days is asked for.
func (f *Filter) days(first, last time.Time) bool {
	return (f.From.IsZero() || !last.Before(f.From)) && (f.To.IsZero() || !first.After(f.To))
}

// Walk calls file for every file in the folder that the filter takes, with its type, in no
// order, and broken for every folder that cannot be listed. It holds a few
// hundred names at a time. The error is the context's.
func (f *Filter) Walk(ctx context.Context, root string, file func(path string, kind fs.FileMode), broken func(path string, err error)) error {
	whole, err := filepath.Abs(root)
	if err != nil {
		whole = root
	}
	return f.walk(ctx, root, filepath.ToSlash(whole), file, broken)
}

func (f *Filter) walk(ctx context.Context, dir, whole string, file func(string, fs.FileMode), broken func(string, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		broken(dir, err)
		return nil
	}
	defer d.Close()
	var folders []string
	for {
		entries, err := d.ReadDir(256)
		for _, e := range entries {
			switch name := e.Name(); {
			case (e.IsDir() || !f.Empty()) && !f.Takes(whole+"/"+name):
			case e.IsDir():
				folders = append(folders, name)
			case ctx.Err() != nil:
				return ctx.Err()
			default:
				file(filepath.Join(dir, name), e.Type())
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			broken(dir, err)
			break
		}
	}
	d.Close() // or as many folders would be open as there are one in the other
	slices.Sort(folders)
	for _, name := range folders {
		if err := f.walk(ctx, filepath.Join(dir, name), whole+"/"+name, file, broken); err != nil {
			return err
		}
	}
	return nil
}
