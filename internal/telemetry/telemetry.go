// Package telemetry is what a function says to CloudWatch: one JSON line for
// each thing that happened, and in the same line the metrics that it explains,
// in the embedded metric format.
//
// It refuses to know what a record means beyond its fields, and it has no name
// of a user to tell.
package telemetry

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// NewLogger returns a logger that writes each entry from level info on to w as
// one line of JSON before it returns: level and timestamp (RFC 3339, UTC,
// milliseconds), the names that Lambda's log filter knows, msg, then the entry's fields. Nothing is sampled.
func NewLogger(w io.Writer) *zap.Logger {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder,
		TimeKey: "timestamp", EncodeTime: func(at time.Time, e zapcore.PrimitiveArrayEncoder) {
			e.AppendString(at.UTC().Format("2006-01-02T15:04:05.000Z"))
		},
		MessageKey: "msg",
	})
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), zapcore.InfoLevel))
}

// Telemetry writes a function's lines. Its methods may be called concurrently.
type Telemetry struct {
	log *zap.Logger
	now func() time.Time
}

// New makes the Telemetry of a function, whose name is in every line and the
// dimension of every metric.
func New(log *zap.Logger, function string, now func() time.Time) *Telemetry {
	return &Telemetry{log: log.With(zap.String("function", function)), now: now}
}

// Record tells of a record: its line has the members that the record has as
// JSON, byte for byte and in their order, and head. The level is warn for a
// reject and for a critical alert, else info. Metrics, as far as they apply:
//
//   - Deliveries, 1 for a record that a delivery caused, by verdict and reason;
//   - EventToAlert, the seconds from the event until now, when the delivery opened
//     an incident or had something noted: a record that somebody else had begun
//     keeps its old time;
//   - ReenableLateness, the seconds from the deadline to the restore.
func (t *Telemetry) Record(r mfa.Record, h mfa.Head) {
	level := zapcore.InfoLevel
	if r.Verdict == mfa.Rejects || slices.ContainsFunc(r.Alerts, critical) {
		level = zapcore.WarnLevel
	}
	fields := []zap.Field{zap.Inline(members(r))}
	if h != (mfa.Head{}) {
		fields = append(fields, zap.Dict("head", zap.String("journal", h.Journal), zap.Int("number", h.Number), zap.String("hash", h.Hash)))
	}
	t.write(level, "record", fields, deliveries(r), set{[]string{byFunction}, spans(r, t.now())})
}

func critical(a mfa.Alert) bool { return a.Severity == mfa.Critical }

func loud(a mfa.Alert) bool { return a.State == mfa.StateTriggered || a.State == mfa.StateNoted }

// deliveries counts a record that a delivery caused. What could not be read has
// no kind.
func deliveries(r mfa.Record) set {
	if !r.Cause.Kind.Delivered() && r.Cause.Kind != "" {
		return set{}
	}
	by := []string{byFunction, "verdict"}
	if r.Reason != "" {
		by = append(by, "reason")
	}
	return set{by, []measure{{"Deliveries", count, 1}}}
}

func spans(r mfa.Record, now time.Time) []measure {
	var out []measure
	if c := r.Cause; c.Kind.Delivered() && !c.EventTime.IsZero() && slices.ContainsFunc(r.Alerts, loud) {
		out = append(out, measure{"EventToAlert", seconds, span(c.EventTime, now)})
	}
	if o := r.Override; o != nil && o.Closed == mfa.Restored && !r.At.Before(o.Deadline) {
		out = append(out, measure{"ReenableLateness", seconds, span(o.Deadline, r.At)})
	}
	return out
}

// members writes a record's members as those of the line.
type members mfa.Record

func (m members) MarshalLogObject(line zapcore.ObjectEncoder) error {
	raw, err := json.Marshal(mfa.Record(m))
	if err != nil {
		return err
	}
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		key := name.String() // the token is void after the next read
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := line.AddReflected(key, json.RawMessage(value)); err != nil {
			return err
		}
	}
	return nil
}

// Irrelevant tells of n deliveries that were not relevant and left no record:
// their Deliveries. Of none it says nothing.
func (t *Telemetry) Irrelevant(n int) {
	if n < 1 {
		return
	}
	fields := []zap.Field{zap.String("verdict", string(mfa.Ignores)), zap.String("reason", string(mfa.Irrelevant))}
	t.write(zapcore.InfoLevel, "not relevant", fields, set{[]string{byFunction, "verdict", "reason"}, []measure{{"Deliveries", count, int64(n)}}})
}

// Sweep is how a sweep ended.
type Sweep struct {
	// Complete: nobody and no pool was left out.
	Complete bool
	// Last is when the last complete sweep ended, which may be this one, or, if
	// there was never one, when the first sweep began; zero if not known.
	Last time.Time
	// Overrides are those that are open; nil: not known.
	Overrides *worker.Census
}

// Sweep tells how a sweep ended: SweepComplete, 0 or 1, and, as far as known,
// SweepAge, the seconds since a complete sweep ended, OverridesOpen,
// OverridesOverdue and OverridesUnrestorable. The level is warn unless it was
// complete.
func (t *Telemetry) Sweep(s Sweep) {
	level, complete := zapcore.WarnLevel, int64(0)
	if s.Complete {
		level, complete = zapcore.InfoLevel, 1
	}
	measures := []measure{{"SweepComplete", count, complete}}
	if !s.Last.IsZero() {
		measures = append(measures, measure{"SweepAge", seconds, span(s.Last, t.now())})
	}
	if o := s.Overrides; o != nil {
		measures = append(measures,
			measure{"OverridesOpen", count, int64(o.Open)},
			measure{"OverridesOverdue", count, int64(o.Overdue)},
			measure{"OverridesUnrestorable", count, int64(o.Unrestorable)})
	}
	t.write(level, "sweep", nil, set{[]string{byFunction}, measures})
}

// Failed tells of a message that could not be handled and will come again:
// Failures, 1. The error is told as Text says.
func (t *Telemetry) Failed(id string, err error) {
	fields := []zap.Field{zap.String("message_id", id), zap.String("error", Text(err))}
	t.write(zapcore.ErrorLevel, "message failed", fields, set{[]string{byFunction}, []measure{{"Failures", count, 1}}})
}

// Request is a person's request and how it was answered. Empty fields are not told.
type Request struct {
	Do string
	// By is the ARN of who asked.
	By string
	// Pool and Sub are what the request names; told of a user who is known only:
	// what is no sub may be a username.
	Pool mfa.PoolID
	Sub  mfa.Sub
	// ID is that of the justification.
	ID string
	// Status is that of HTTP, and Problem the name of what was answered instead of
	// doing it.
	Status  int
	Problem string
	// Err is why it could not be done; nil if it was done or refused.
	Err error
}

// Request tells of a request. With an error, told as Text says, the level is
// error, and it counts as Failures, 1.
func (t *Telemetry) Request(r Request) {
	var fields []zap.Field
	for _, f := range []struct{ name, value string }{
		{"do", r.Do},
		{"by", r.By},
		{"pool_id", string(r.Pool)},
		{"sub", string(r.Sub)},
		{"id", r.ID},
		{"problem", r.Problem},
		{"status", strconv.Itoa(r.Status)}, // as text: a number in a line is a metric's value
	} {
		if f.value != "" {
			fields = append(fields, zap.String(f.name, f.value))
		}
	}
	if r.Err == nil {
		t.write(zapcore.InfoLevel, "request", fields)
		return
	}
	fields = append(fields, zap.String("error", Text(r.Err)))
	t.write(zapcore.ErrorLevel, "request failed", fields, set{[]string{byFunction}, []measure{{"Failures", count, 1}}})
}

// Problem tells of an error that concerns no one message. It is told as Text
// says, and counted by nothing.
func (t *Telemetry) Problem(msg string, err error) {
	t.write(zapcore.ErrorLevel, msg, []zap.Field{zap.String("error", Text(err))})
}
