// Command sweep is the Lambda function that finds what deliveries missed. A rate
// schedule invokes it; the event says nothing.
package main

import (
	"context"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stackflow/relatch/internal/cloud"
	"github.com/stackflow/relatch/internal/invoke"
	"github.com/stackflow/relatch/internal/telemetry"
)

func main() {
	said := telemetry.New(telemetry.NewLogger(os.Stdout), "sweep", time.Now)
	ctx, stop := context.WithCancel(context.Background())
	function, err := cloud.Begin(os.Environ(), os.Getenv, time.Now)
	if err != nil {
		said.Problem("start", err)
		os.Exit(1)
	}
	sweep := invoke.Sweep{
		Worker: function.Worker, Bookmarks: function.Ledger, Ready: function.Ready(ctx),
		Telemetry: said,
	}
	lambda.StartWithOptions(sweep.Invoke, lambda.WithContext(ctx), lambda.WithEnableSIGTERM(stop))
}
