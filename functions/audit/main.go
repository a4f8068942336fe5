// Command audit is the Lambda function that looks at the users whom CloudTrail
// deliveries name. It takes batches of its SQS queue, or one EventBridge event.
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
	said := telemetry.New(telemetry.NewLogger(os.Stdout), "audit", time.Now)
	ctx, stop := context.WithCancel(context.Background())
	function, err := cloud.Begin(os.Environ(), os.Getenv, time.Now)
	if err != nil {
		said.Problem("start", err)
		os.Exit(1)
	}
	audit := invoke.Audit{Function: invoke.Function{
		Worker: function.Worker, Evidence: function.Evidence, Ready: function.Ready(ctx),
		Telemetry: said,
	}}
	lambda.StartWithOptions(audit.Invoke, lambda.WithContext(ctx), lambda.WithEnableSIGTERM(stop))
}
