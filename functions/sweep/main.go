// Command sweep is the Lambda function that finds what deliveries missed. A rate
// schedule invokes it; the event says nothing.
package main

import (
	"context"
	"log"
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
	ctx, stop := context.WithCancel(context.Background())
	settings, err := config.Read(os.Environ())
	if err != nil {
		log.Fatal(err)
	}
	account, err := cloud.Load(os.Getenv)
	if err != nil {
		log.Fatal(err)
	}
	c := cloud.Open(account, settings, time.Now)
	w := worker.New(settings.House(), c.Ports, time.Now)
	w.Together = worker.Together
	sweep := invoke.Sweep{
		Worker: w, Bookmarks: c.Ledger, Ready: c.Ready(ctx),
		Telemetry: telemetry.New(telemetry.NewLogger(os.Stdout), "sweep", time.Now),
	}
	lambda.StartWithOptions(sweep.Invoke, lambda.WithContext(ctx), lambda.WithEnableSIGTERM(stop))
}
