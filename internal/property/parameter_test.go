package property_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/property"
)

func TestAParameterIsReadOverTheWire(t *testing.T) {
	client := ssm.NewFromConfig(mototest.Start(t))
	const name, value = "/stackflow/" + property.Record, ` ["cloud_admin",  "security_admin"]`
	source := property.NewParameter(client, name)
	if raw, err := source.Read(t.Context()); raw != nil || err != nil {
		t.Fatalf("no parameter: %q, %v", raw, err)
	}
	for _, kind := range []types.ParameterType{types.ParameterTypeString, types.ParameterTypeSecureString} {
		if _, err := client.PutParameter(t.Context(), &ssm.PutParameterInput{Name: new(name), Value: new(value), Type: kind, Overwrite: new(true)}); err != nil {
			t.Fatal(err)
		}
		raw, err := source.Read(t.Context())
		if err != nil || string(raw) != value {
			t.Fatalf("%s: %q, %v", kind, raw, err)
		}
		samePolicy(t, raw, roles("cloud_admin", "security_admin"))
	}
	if raw, err := property.NewParameter(client, name+":99").Read(t.Context()); raw != nil || err == nil {
		t.Errorf("no such version: %q, %v", raw, err)
	}
}
