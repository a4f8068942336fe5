package archive

import (
	"bytes"
	sgz "compress/gzip"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/klauspost/compress/gzip"

	"github.com/stackflow/relatch/internal/trail"
)

func corpus(tb testing.TB, size int) (raw, zip []byte) {
	files, _ := filepath.Glob("/work/shared/cloudtrail/invictus-ir/*.gz")
	var recs [][]byte
	for _, f := range files {
		b, _ := os.ReadFile(f)
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			tb.Fatal(err)
		}
		t, _ := io.ReadAll(z)
		for u := range trail.Split(t) {
			recs = append(recs, bytes.Clone(u.Raw))
		}
	}
	out := []byte(`{"Records":[`)
	for i, r := range recs {
		if i > 0 {
			out = append(out, ',')
		}
		if len(out)+len(r) > size {
			out = append(out, r...)
			break
		}
		out = append(out, r...)
	}
	out = append(out, "]}"...)
	var o bytes.Buffer
	w, _ := sgz.NewWriterLevel(&o, 6)
	w.Write(out)
	w.Close()
	return out, o.Bytes()
}

func BenchmarkScan(b *testing.B) {
	for _, size := range []int{4 << 20, 11 << 10} {
		raw, zip := corpus(b, size)
		r := bytes.NewReader(nil)
		name := "4MB"
		if size < 1<<20 {
			name = "11KB"
		}
		var z gzip.Reader
		s := &Scanner{}
		n := 0
		alone := func() {
			r.Reset(zip)
			if err := z.Reset(r); err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, &z)
		}
		scan := func(data []byte) {
			r.Reset(data)
			e, _, err := s.Scan(r, func(u trail.Unit, _ time.Time) time.Time { b.Fatalf("%s", u.Raw); return time.Time{} })
			if err != nil {
				b.Fatal(err)
			}
			n = e.Count
		}
		b.Run(name+"/pairs", func(b *testing.B) {
			var ta, ts time.Duration
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for b.Loop() {
				t0 := cpu()
				alone()
				t1 := cpu()
				scan(zip)
				t2 := cpu()
				ta, ts = ta+t1-t0, ts+t2-t1
			}
			b.ReportMetric(float64(ts)/float64(ta), "ratio")
			b.ReportMetric(float64(b.N)*float64(len(raw))/ta.Seconds()/1e6, "aloneMB/s")
			b.ReportMetric(float64(n), "records")
		})
		b.Run(name+"/plain", func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				scan(raw)
			}
		})
	}
}

func cpu() time.Duration {
	var ts syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 3, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}

func BenchmarkPart(b *testing.B) {
	runtime.LockOSThread()
	raw, zip := corpus(b, 4<<20)
	r := bytes.NewReader(nil)
	var z gzip.Reader
	s := &Scanner{}
	buf := make([]byte, 64<<10)
	for name, f := range map[string]func(){
		"discard": func() { r.Reset(zip); z.Reset(r); io.Copy(io.Discard, &z) },
		"read32": func() {
			r.Reset(zip)
			z.Reset(r)
			for {
				if _, err := z.Read(buf[:32<<10]); err != nil {
					break
				}
			}
		},
		"read64": func() {
			r.Reset(zip)
			z.Reset(r)
			for {
				if _, err := z.Read(buf); err != nil {
					break
				}
			}
		},
		"begin": func() {
			d := raw[12:]
			for d[0] == '{' {
				o := begin(d)
				d = d[o.end+1:]
				if len(d) < 3 {
					break
				}
			}
		},
		"beginhead": func() {
			d := raw[12:]
			for d[0] == '{' {
				o := begin(d)
				h, ok := o.head(d[:o.end])
				if _, fine := stampOf(h.at); !ok || !fine {
					b.Fatal("x")
				}
				d = d[o.end+1:]
				if len(d) < 3 {
					break
				}
			}
		},
		"beginpass": func() {
			s.buf = raw
			s.at = 12
			for s.buf[s.at] == '{' {
				o := begin(s.buf[s.at:])
				h, _ := o.head(s.buf[s.at : s.at+o.end])
				if !s.pass(s.buf[s.at:s.at+o.end], h) {
					b.Fatal("x")
				}
				s.at += o.end + 1
				if len(s.buf)-s.at < 3 {
					break
				}
			}
		},
		"quick": func() {
			d := raw[12:]
			for {
				e, h, ok := layouts[0].quick(d)
				_ = h
				if _, fine := stampOf(h.at); !ok || !fine {
					break
				}
				d = d[e+1:]
			}
			if len(d) > 4000 {
				b.Fatalf("%d %s", len(d), d[:2000])
			}
		},
		"idx{": func() {
			d := raw
			for {
				i := bytes.IndexByte(d, '{')
				if i < 0 {
					break
				}
				d = d[i+1:]
			}
		},
		"idx}": func() {
			d := raw
			for {
				i := bytes.IndexByte(d, '}')
				if i < 0 {
					break
				}
				d = d[i+1:]
			}
		},
		"count": func() { bytes.Count(raw, quote) },
	} {
		b.Run(name, func(b *testing.B) {
			t0 := cpu()
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64(cpu()-t0)/float64(b.N)/1000, "cpu-us")
		})
	}
}
