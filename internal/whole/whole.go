// Package whole writes files that are there as a whole or not at all, and that
// only their owner may read.
//
// It refuses to know what is in them.
package whole

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write writes a file, so that at its path there is all of it or what was there
// before, whatever fails. An error names the file.
func Write(path string, write func(*bufio.Writer) error) error {
	f, err := beside(path)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is there only if something else has failed
	out := bufio.NewWriter(f)
	if err := errors.Join(write(out), out.Flush(), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// Check reports why a file cannot be written, before it takes an hour to find
// out. It leaves nothing behind.
func Check(path string) error {
	f, err := beside(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// beside makes a file in the folder of path. What is there and no plain file would be
// lost: a link, /dev/stdout.
func beside(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is no file, or only a link to one", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // for its owner only
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be written: %w", path, err)
	}
	return f, nil
}
