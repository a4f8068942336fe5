package trail

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkParse reads one envelope as EventBridge delivers it, on one core.
func BenchmarkParse(b *testing.B) {
	file := filepath.Join(scenarios, "unjustified-disable-of-required-role", "01-disable.json")
	relevant := unitsOf(b, file)[0].Raw
	for name, raw := range map[string][]byte{
		"relevant":   relevant,
		"irrelevant": []byte(strings.ReplaceAll(string(relevant), "AdminSetUserMFAPreference", "AdminGetUser")),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := Parse(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSplit takes log files of different lengths apart: the cost of one
// record must not grow with their number.
func BenchmarkSplit(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		data := []byte(`{"Records":[` + strings.Repeat(string(call(`{}`))+",", n-1) + string(call(`{}`)) + `]}`)
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				got := 0
				for range Split(data) {
					got++
				}
				if got != n {
					b.Fatal(got)
				}
			}
		})
	}
}
