// Command reenable is the Lambda function that ends overrides and signs out: it
// alone may write to users. It takes batches of its SQS queue, or one message.
package main

import (
	"context"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stackflow/relatch/internal/cloud"
	"github.com/stackflow/relatch/internal/config"
	"github.com/stackflow/relatch/internal/invoke"
	"github.com/stackflow/relatch/internal/telemetry"
	"github.com/stackflow/relatch/internal/worker"
)

func main() {
	said := telemetry.New(telemetry.NewLogger(os.Stdout), "reenable", time.Now)
	ctx, stop := context.WithCancel(context.Background())
	settings, err := config.Read(os.Environ())
	if err != nil {
		said.Problem("start", err)
		os.Exit(1)
	}
	account, err := cloud.Load(os.Getenv)
	if err != nil {
		said.Problem("start", err)
		os.Exit(1)
	}
	c := cloud.Open(account, settings, time.Now)
	w := worker.New(settings.House(), c.Ports, time.Now).WithWriter(c.Writer)
	w.Together = worker.Together
	reenable := invoke.Reenable{Function: invoke.Function{
		Worker: w, Evidence: c.Evidence, Ready: c.Ready(ctx),
		Telemetry: said,
	}}
	lambda.StartWithOptions(reenable.Invoke, lambda.WithContext(ctx), lambda.WithEnableSIGTERM(stop))
}
