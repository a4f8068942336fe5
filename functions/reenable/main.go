// Command reenable is the Lambda function that ends overrides and signs out: it
// alone may write to users. It takes batches of its SQS queue, or one message.
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
	w := worker.New(settings.House(), c.Ports, time.Now).WithWriter(c.Writer)
	w.Together = worker.Together
	reenable := invoke.Reenable{Function: invoke.Function{
		Worker: w, Evidence: c.Evidence, Ready: c.Ready(ctx),
		Telemetry: telemetry.New(telemetry.NewLogger(os.Stdout), "reenable", time.Now),
	}}
	lambda.StartWithOptions(reenable.Invoke, lambda.WithContext(ctx), lambda.WithEnableSIGTERM(stop))
}
