// The function probe does what its event says, and INIT fails it before the first.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// fault is an error with a type of its own.
type fault struct{}

func (fault) Error() string { return "as asked" }

var count int

func main() {
	switch os.Getenv("INIT") {
	case "exit":
		log.Fatal("TABLE is not set")
	case "report":
		url := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/init/error"
		body := bytes.NewBufferString(`{"errorType":"Config","errorMessage":"TABLE is not set"}`)
		resp, err := http.Post(url, "application/json", body) //nolint:gosec // the address is what Lambda says
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		os.Exit(3)
	}
	if os.Getenv("SIGTERM") == "" {
		lambda.Start(answer)
	}
	ctx, cancel := context.WithCancel(context.Background())
	lambda.StartWithOptions(answer, lambda.WithContext(ctx), lambda.WithEnableSIGTERM(func() {
		fmt.Println("told to end")
		if os.Getenv("SIGTERM") == "exit" {
			os.Exit(0)
		}
		cancel()
	}))
}

func answer(ctx context.Context, event struct{ Do, Address string }) (any, error) {
	count++
	switch event.Do {
	case "count":
		return count, nil
	case "environment":
		return os.Environ(), nil
	case "context":
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{"deadline": deadline.UnixMilli(), "id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn}, nil
	case "print":
		fmt.Println("to standard output")
		fmt.Fprintln(os.Stderr, "to standard error")
		return nil, nil
	case "fail":
		return nil, fault{}
	case "panic":
		panic("as asked")
	case "exit":
		fmt.Println("on my way out")
		os.Exit(7)
	case "wait":
		conn, err := net.Dial("tcp", event.Address)
		if err != nil {
			return nil, err
		}
		defer func() { _ = conn.Close() }()
		<-ctx.Done()
		return nil, ctx.Err()
	case "hang": // until the other side closes
		conn, err := net.Dial("tcp", event.Address)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, conn)
		return nil, err
	}
	return nil, errors.New("no such thing to do")
}
