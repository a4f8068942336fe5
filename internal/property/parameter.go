package property

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// Parameters is what Parameter needs of SSM's client; its own retries are expected.
type Parameters interface {
	GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
}

// Parameter is a Source in a parameter of SSM. It may be used by many at once.
type Parameter struct {
	client Parameters
	name   string
}

// NewParameter returns the source in the parameter of the name or ARN.
func NewParameter(client Parameters, name string) *Parameter {
	return &Parameter{client: client, name: name}
}

// Read implements worker.PolicySource. A SecureString is decrypted, which needs
// kms:Decrypt. A StringList comes as it is, which is no JSON and so no policy.
func (p *Parameter) Read(ctx context.Context) ([]byte, error) {
	out, err := p.client.GetParameter(ctx, &ssm.GetParameterInput{Name: &p.name, WithDecryption: new(true)})
	switch {
	case noParameter(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read parameter %s: %w", p.name, err)
	case out.Parameter == nil || out.Parameter.Value == nil:
		return nil, fmt.Errorf("read parameter %s: the answer has no value", p.name)
	default:
		return []byte(*out.Parameter.Value), nil
	}
}
