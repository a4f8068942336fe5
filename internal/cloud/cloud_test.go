package cloud

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

var errCheck = errors.New("no bus")

func TestTheCheckBeginsAtOnceAndIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		checks := 0
		ready := once(t.Context(), func(context.Context) error {
			checks++
			<-time.After(2 * time.Second)
			return nil
		})
		<-time.After(time.Second) // nobody waits for it yet
		for range 2 {
			if err := ready(t.Context()); err != nil {
				t.Error(err)
			}
			if waited := time.Since(began); waited != 2*time.Second || checks != 1 {
				t.Errorf("after %s and %d checks it is ready; want 2s and one", waited, checks)
			}
		}
	})
}

func TestTheCheckIsRepeatedUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []error{errCheck, errCheck, nil}
		ready := once(t.Context(), func(context.Context) error {
			err := answers[0] // after success it must not be asked again
			answers = answers[1:]
			return err
		})
		synctest.Wait()
		for _, want := range []error{errCheck, nil, nil} {
			if err := ready(t.Context()); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
	})
}

func TestNobodyWaitsForTheCheckLongerThanHisTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ready := once(t.Context(), func(context.Context) error {
			<-time.After(time.Minute)
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ready(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if err := ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// lambda is what Lambda sets.
func lambda(more map[string]string) func(string) string {
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIDMARKED", "AWS_SECRET_ACCESS_KEY": "secret-marked", "AWS_SESSION_TOKEN": "token-marked"}
	maps.Copy(env, more)
	return func(name string) string { return env[name] }
}

// asked is a transport that keeps the request and answers nothing of use.
type asked struct{ *http.Request }

func (a *asked) Do(r *http.Request) (*http.Response, error) {
	a.Request = r
	return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

func TestTheEnvironmentSaysWhereTheServicesAre(t *testing.T) {
	for name, c := range map[string]struct {
		env              map[string]string
		sqs, dynamo, bus string // hosts
	}{
		"Lambda's own": {nil, "sqs.us-east-1.amazonaws.com", "dynamodb.us-east-1.amazonaws.com", "events.us-east-1.amazonaws.com"},
		"one endpoint for all but one": {
			map[string]string{"AWS_ENDPOINT_URL": "http://all.example:1", "AWS_ENDPOINT_URL_DYNAMODB": "http://dynamo.example:2"},
			"all.example:1", "dynamo.example:2", "all.example:1",
		},
		"one endpoint for one": {
			map[string]string{"AWS_ENDPOINT_URL_EVENTBRIDGE": "http://bus.example"},
			"sqs.us-east-1.amazonaws.com", "dynamodb.us-east-1.amazonaws.com", "bus.example",
		},
		"FIPS": {
			map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"},
			"sqs-fips.us-east-1.amazonaws.com", "dynamodb-fips.us-east-1.amazonaws.com", "events-fips.us-east-1.amazonaws.com",
		},
		"no FIPS": {
			map[string]string{"AWS_USE_FIPS_ENDPOINT": "False"},
			"sqs.us-east-1.amazonaws.com", "dynamodb.us-east-1.amazonaws.com", "events.us-east-1.amazonaws.com",
		},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := Load(lambda(c.env))
			if err != nil {
				t.Fatal(err)
			}
			var a asked
			config.HTTPClient = &a
			// What comes back is an error each time: the request is what counts.
			_, _ = sqs.NewFromConfig(config).ListQueues(t.Context(), &sqs.ListQueuesInput{})
			if got := a.URL.Host; got != c.sqs {
				t.Errorf("SQS is at %s, want %s", got, c.sqs)
			}
			if got := a.Header.Get("X-Amz-Security-Token"); got != "token-marked" {
				t.Errorf("the session token is %q", got)
			}
			_, _ = dynamodb.NewFromConfig(config).ListTables(t.Context(), &dynamodb.ListTablesInput{})
			if got := a.URL.Host; got != c.dynamo {
				t.Errorf("DynamoDB is at %s, want %s", got, c.dynamo)
			}
			_, _ = eventbridge.NewFromConfig(config).DescribeEventBus(t.Context(), &eventbridge.DescribeEventBusInput{})
			if got := a.URL.Host; got != c.bus {
				t.Errorf("EventBridge is at %s, want %s", got, c.bus)
			}
		})
	}
}

func TestAnEnvironmentThatIsNotLambdasIsAnError(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		_, err := Load(lambda(map[string]string{name: ""}))
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(strings.ToLower(err.Error()), "marked") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	_, err := Load(lambda(map[string]string{"AWS_USE_FIPS_ENDPOINT": "marked"}))
	if err == nil || !strings.Contains(err.Error(), "AWS_USE_FIPS_ENDPOINT") || strings.Contains(err.Error(), "marked") {
		t.Errorf("neither true nor false: %v", err)
	}
}
