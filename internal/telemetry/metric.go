package telemetry

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// This file alone knows the embedded metric format (aws-facts.md section 9):
// CloudWatch takes a line's metrics from the root members that _aws names;
// dimensions are root members too, of text.

const namespace = "Relatch"

// The units.
const (
	count   = "Count"
	seconds = "Seconds"
)

// byFunction is the dimension of every metric.
const byFunction = "function"

// measure is a metric's value. Values are whole numbers, so that no encoder
// writes one with an exponent.
type measure struct {
	name, unit string
	value      int64
}

// set are measures with the same dimensions.
type set struct {
	by       []string
	measures []measure
}

// The shape of _aws. Its member names are the format's.
type (
	metadata struct {
		Timestamp         int64 // in milliseconds
		CloudWatchMetrics []directive
	}
	directive struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []definition
	}
	definition struct{ Name, Unit string }
)

// write writes a line with the measures of the sets. A set without measures is none.
func (t *Telemetry) write(level zapcore.Level, msg string, fields []zap.Field, sets ...set) {
	line := t.log.Check(level, msg)
	if line == nil {
		return
	}
	line.Time = t.now()
	aws := metadata{Timestamp: line.Time.UnixMilli()}
	for _, s := range sets {
		if len(s.measures) == 0 {
			continue
		}
		d := directive{Namespace: namespace, Dimensions: [][]string{s.by}}
		for _, m := range s.measures {
			d.Metrics = append(d.Metrics, definition{m.name, m.unit})
			fields = append(fields, zap.Int64(m.name, m.value))
		}
		aws.CloudWatchMetrics = append(aws.CloudWatchMetrics, d)
	}
	if len(aws.CloudWatchMetrics) > 0 {
		fields = append(fields, zap.Reflect("_aws", aws))
	}
	line.Write(fields...)
}

// span is the time between in whole seconds, never below 0: clocks differ.
func span(from, to time.Time) int64 {
	return int64(max(to.Sub(from), 0) / time.Second)
}
