// Command override is the Lambda function that takes people's requests: justify,
// approve, end. It answers a function URL whose auth type is AWS_IAM.
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
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	settings, err := config.ReadOverride(os.Environ())
	if err != nil {
		log.Fatal(err)
	}
	account, err := cloud.Load(os.Getenv)
	if err != nil {
		log.Fatal(err)
	}
	desk := cloud.OpenDesk(account, settings, time.Now)
	override := invoke.Override{
		Pools: settings.Pools, Users: desk.Users, Book: desk.Ledger, Policy: desk.Policy, Audit: desk.Audit,
		Telemetry: telemetry.New(telemetry.NewLogger(os.Stdout), "override", time.Now), Now: time.Now,
	}
	lambda.StartWithOptions(override.Invoke, lambda.WithContext(ctx), lambda.WithEnableSIGTERM(stop))
}
