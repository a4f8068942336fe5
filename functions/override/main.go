// Command override is the Lambda function that takes people's requests: justify,
// approve, end. It answers a function URL whose auth type is AWS_IAM.
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
)

func main() {
	said := telemetry.New(telemetry.NewLogger(os.Stdout), "override", time.Now)
	ctx, stop := context.WithCancel(context.Background())
	settings, err := config.ReadOverride(os.Environ())
	if err != nil {
		said.Problem("start", err)
		os.Exit(1)
	}
	account, err := cloud.Load(os.Getenv)
	if err != nil {
		said.Problem("start", err)
		os.Exit(1)
	}
	desk := cloud.OpenDesk(account, settings, time.Now)
	override := invoke.Override{
		Pools: settings.Pools, Users: desk.Users, Book: desk.Ledger, Policy: desk.Policy, Audit: desk.Audit,
		Telemetry: said, Now: time.Now,
	}
	lambda.StartWithOptions(override.Invoke, lambda.WithContext(ctx), lambda.WithEnableSIGTERM(stop))
}
