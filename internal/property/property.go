// Package property is the port worker.PolicySource on what the product keeps its
// settings in: a DynamoDB table, or else an SSM parameter. It is part of Observe.
//
// It refuses to know what the record says: mfa.ParsePolicy does. A record that
// is no policy is read like any other; only what could not be read is an error.
package property

import "context"

// Record is the product's name for the setting.
const Record = "mfa.required_roles"

// Source is worker.PolicySource: Read returns the record as it is, nil if it is
// missing.
type Source interface {
	Read(context.Context) ([]byte, error)
}
