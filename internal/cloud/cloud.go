// Package cloud opens what a function works with: it makes the worker's ports
// of the AWS services that the configuration names.
//
// It refuses to know what a function is invoked with and what the ports are
// used for.
package cloud

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	awsscheduler "github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/stackflow/relatch/internal/bus"
	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/config"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/property"
	"github.com/stackflow/relatch/internal/queue"
	"github.com/stackflow/relatch/internal/scheduler"
	"github.com/stackflow/relatch/internal/worker"
)

// Cloud is what a function works with.
type Cloud struct {
	// Ports have no Writer.
	Ports worker.Ports
	// Writer is for reenable alone, whose role alone may use it.
	Writer *cognito.Writer
	// Ledger is that of Ports.
	Ledger *dynamo.Ledger
	// Evidence keeps what could not be read.
	Evidence *queue.DeadLetters

	bus *bus.Bus
}

// Open makes the clients. It asks AWS nothing.
func Open(a aws.Config, c config.Config, now func() time.Time) *Cloud {
	users := cognitoidentityprovider.NewFromConfig(a)
	limits := cognito.NewLimits(c.QuotaShare, c.Concurrency)
	items := dynamodb.NewFromConfig(a)
	messages := sqs.NewFromConfig(a)
	cloud := &Cloud{
		Writer:   cognito.NewWriter(users, limits),
		Ledger:   dynamo.New(items, c.Table),
		Evidence: queue.NewDeadLetters(messages, c.DeadLettersURL),
		bus:      bus.New(eventbridge.NewFromConfig(a), c.AlertBus),
	}
	cloud.Ports = worker.Ports{
		Users: cognito.New(users, cognito.Options{
			PoolFor: orNever(c.PoolFor), Now: now, Limits: limits, ListedOnly: !c.AuthFactors,
		}),
		Ledger: cloud.Ledger,
		Timer: scheduler.New(awsscheduler.NewFromConfig(a), scheduler.Config{
			Group: c.ScheduleGroup, Queue: c.ReenableQueueARN, Role: c.ScheduleRole, DeadLetters: c.ScheduleDeadLetters,
		}),
		Queue:  queue.New(messages, c.ReenableQueueURL),
		Alerts: cloud.bus,
		Policy: policy(a, items, c, now),
	}
	return cloud
}

// Desk is what override works with: it sees users, and writes to the ledger and
// audit's queue.
type Desk struct {
	Users  *cognito.Users
	Ledger *dynamo.Ledger
	Policy worker.PolicySource
	Audit  *queue.Audit
}

// OpenDesk makes the clients. It asks AWS nothing.
func OpenDesk(a aws.Config, c config.Config, now func() time.Time) Desk {
	items := dynamodb.NewFromConfig(a)
	return Desk{
		Users: cognito.New(cognitoidentityprovider.NewFromConfig(a), cognito.Options{
			Now: now, Limits: cognito.NewLimits(c.QuotaShare, c.Concurrency), ListedOnly: true, // who has which factor is not asked
		}),
		Ledger: dynamo.New(items, c.Table),
		Policy: policy(a, items, c, now),
		Audit:  queue.NewAudit(sqs.NewFromConfig(a), c.AuditQueueURL),
	}
}

// Function is what audit, reenable and sweep begin with.
type Function struct {
	*Cloud
	// Worker may not write to users.
	Worker *worker.Worker
}

// Begin opens a function by its environment, as os.Environ and os.Getenv have it.
// The error joins everything that is wrong with that.
func Begin(environ []string, getenv func(string) string, now func() time.Time) (*Function, error) {
	settings, err := config.Read(environ)
	account, loadErr := Load(getenv)
	if err = errors.Join(err, loadErr); err != nil {
		return nil, err
	}
	cloud := Open(account, settings, now)
	w := worker.New(settings.House(), cloud.Ports, now)
	w.Together = worker.Together
	return &Function{Cloud: cloud, Worker: w}, nil
}

// orNever is a duration for which the zero means the default and a negative one never.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func policy(a aws.Config, items *dynamodb.Client, c config.Config, now func() time.Time) *property.Cached {
	var source property.Source = property.NewTable(items, property.Place{Table: c.PolicyTable, Key: c.PolicyKey, Value: c.PolicyValue})
	if c.PolicyParameter != "" {
		source = property.NewParameter(ssm.NewFromConfig(a), c.PolicyParameter)
	}
	return &property.Cached{Source: source, Fresh: orNever(c.PolicyFor), Now: now}
}

// Ready returns a check of what would otherwise be lost in silence: that there
// is a bus for alerts. It begins at once, and whoever calls the function waits
// for it. Once it has succeeded, it is not repeated.
func (c *Cloud) Ready(ctx context.Context) func(context.Context) error {
	return once(ctx, c.bus.Check)
}

// once begins a check at once; the function it returns waits for it, as long as
// its context lasts, and checks again if it has failed.
func once(ctx context.Context, check func(context.Context) error) func(context.Context) error {
	ready := false
	turn := make(chan struct{}, 1) // taken by sending: a mutex would not heed a context
	turn <- struct{}{}
	run := func(ctx context.Context) error {
		defer func() { <-turn }()
		if ready {
			return nil
		}
		err := check(ctx)
		ready = err == nil
		return err
	}
	go func() { _ = run(ctx) }() // who waits for it hears of it
	return func(ctx context.Context) error {
		select {
		case turn <- struct{}{}:
			return run(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
