package cloud

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// What every call to AWS is given: a connection that hangs is given up long
// before the message's time is over, and what was throttled is asked for again
// after a random pause.
const (
	attemptFor  = 5 * time.Second
	attempts    = 4
	longestWait = 3 * time.Second
)

// Load returns the SDK's configuration from the environment that Lambda gives
// every function: Region and credentials, and, as the SDK's reference guide has
// them, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE>, AWS_USE_FIPS_ENDPOINT and
// AWS_SDK_UA_APP_ID. The SDK's own loader also looks for files, SSO and instance
// roles, of which a function has none, and costs a third of the time to start.
func Load(getenv func(string) string) (aws.Config, error) {
	for _, name := range []string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if getenv(name) == "" {
			return aws.Config{}, fmt.Errorf("%s is not set; Lambda sets it", name)
		}
	}
	// The clients take an error of a source for "not set".
	if _, _, err := environment(getenv).GetUseFIPSEndpoint(context.Background()); err != nil {
		return aws.Config{}, err
	}
	c := aws.Config{
		Region:        getenv("AWS_REGION"),
		Credentials:   credentials.NewStaticCredentialsProvider(getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SESSION_TOKEN")),
		HTTPClient:    awshttp.NewBuildableClient().WithTimeout(attemptFor),
		AppID:         getenv("AWS_SDK_UA_APP_ID"),
		ConfigSources: []any{environment(getenv)},
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = attempts, longestWait })
		},
	}
	if url := getenv("AWS_ENDPOINT_URL"); url != "" {
		c.BaseEndpoint = &url
	}
	return c, nil
}

// environment is where the SDK's clients look for settings of their service.
type environment func(string) string

// GetServiceBaseEndpoint returns the value of AWS_ENDPOINT_URL_<SERVICE>.
func (e environment) GetServiceBaseEndpoint(_ context.Context, sdkID string) (string, bool, error) {
	url := e("AWS_ENDPOINT_URL_" + strings.ToUpper(strings.ReplaceAll(sdkID, " ", "_")))
	return url, url != "", nil
}

// GetUseFIPSEndpoint returns the value of AWS_USE_FIPS_ENDPOINT.
func (e environment) GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error) {
	switch value := e("AWS_USE_FIPS_ENDPOINT"); {
	case value == "":
		return aws.FIPSEndpointStateUnset, false, nil
	case strings.EqualFold(value, "true"):
		return aws.FIPSEndpointStateEnabled, true, nil
	case strings.EqualFold(value, "false"):
		return aws.FIPSEndpointStateDisabled, true, nil
	default:
		return aws.FIPSEndpointStateUnset, false, errors.New("AWS_USE_FIPS_ENDPOINT is neither true nor false")
	}
}
