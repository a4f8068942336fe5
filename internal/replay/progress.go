package replay

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
)

// Progress counts what a Loader has read. It may be looked at meanwhile; a nil
// *Progress counts nothing.
type Progress struct {
	files, bytes, records atomic.Int64
}

// Files is how many files have been read to their end.
func (p *Progress) Files() int { return int(p.files.Load()) }

// Bytes is how much has been read, as it is stored.
func (p *Progress) Bytes() int64 { return p.bytes.Load() }

// Records is how many there were in the files that have been read to their end.
func (p *Progress) Records() int64 { return p.records.Load() }

func (p *Progress) read(bytes int64) {
	if p != nil {
		p.bytes.Add(bytes)
	}
}

// whole counts a file that was read as often as it took.
func (p *Progress) whole(f File) {
	if p != nil {
		size, _ := f.Seek(0, io.SeekEnd) // only told to people
		p.read(size)
	}
}

// done counts a file of that many records.
func (p *Progress) done(records int) {
	if p != nil {
		p.files.Add(1)
		p.records.Add(int64(records))
	}
}

// Size is how many bytes Load will read of the paths. It lists and asks for the
// size of every file. False: that cannot be known, as of standard input and of what is not
// on a disk here, or the context ended before it was.
func (l *Loader) Size(ctx context.Context, paths []string) (size int64, known bool) {
	known = true
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case path == "-", inS3(path), err == nil && !info.IsDir() && !info.Mode().IsRegular():
			return 0, false
		case err != nil: // which Load tells
		case !info.IsDir():
			size += info.Size()
		default:
			err = l.Filter.Walk(ctx, path, func(path string, _ fs.FileMode) {
				if info, err := os.Stat(path); err == nil && taken(filepath.Base(path)) {
					size += info.Size()
				}
			}, func(string, error) {})
			known = known && err == nil
		}
	}
	return size, known
}
