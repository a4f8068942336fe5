// Command sweep is the Lambda function that finds what deliveries missed. A rate
// schedule invokes it; the event says nothing.
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
	said := telemetry.New(telemetry.NewLogger(os.Stdout), "sweep", time.Now)
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
	w := worker.New(settings.House(), c.Ports, time.Now)
	w.Together = worker.Together
	sweep := invoke.Sweep{
		Worker: w, Bookmarks: c.Ledger, Ready: c.Ready(ctx),
		Telemetry: said,
	}
	lambda.StartWithOptions(sweep.Invoke, lambda.WithContext(ctx), lambda.WithEnableSIGTERM(stop))
}
