// Command reenable is the Lambda function that ends overrides and signs out: it
// alone may write to users. It takes batches of its SQS queue, or one message.
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
	said := telemetry.New(telemetry.NewLogger(os.Stdout), "reenable", time.Now)
	ctx, stop := context.WithCancel(context.Background())
	function, err := cloud.Begin(os.Environ(), os.Getenv, time.Now)
	if err != nil {
		said.Problem("start", err)
		os.Exit(1)
	}
	reenable := invoke.Reenable{Function: invoke.Function{
		Worker: function.Worker.WithWriter(function.Writer), Evidence: function.Evidence, Ready: function.Ready(ctx),
		Telemetry: said,
	}}
	lambda.StartWithOptions(reenable.Invoke, lambda.WithContext(ctx), lambda.WithEnableSIGTERM(stop))
}
