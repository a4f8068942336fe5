package mfa

import (
	"testing"
	"time"
)

func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct {
		name   string
		state  State
		change Change
		want   Verdict
	}{
		{"open", but(now(), justified), off(t0, TOTP), Opens},
		{"hold", opened(justified), level(Swept), Holds},
		{"still_protected", now(TOTP), off(t0, SMS), Ignores},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			policy, at := DefaultPolicy(), t0.Add(time.Minute)
			for b.Loop() {
				if d := Decide(c.state, c.change, policy, at); d.Verdict != c.want {
					b.Fatalf("%s, want %s", d.Verdict, c.want)
				}
			}
		})
	}
}
