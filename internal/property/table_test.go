package property_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/dynamotest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/property"
	"github.com/stackflow/relatch/internal/worker"
)

var _ worker.PolicySource = property.Source(nil)

type (
	object = map[string]types.AttributeValue
	text   = types.AttributeValueMemberS
	number = types.AttributeValueMemberN
	list   = types.AttributeValueMemberL
	inner  = types.AttributeValueMemberM
)

// Both attributes are reserved words of DynamoDB, as the product's may be.
var place = property.Place{Table: "StackFlow_SystemProperty", Key: "name", Value: "value"}

// create makes the product's table, with a sort key if one is named.
func create(t *testing.T, sort ...string) *dynamodb.Client {
	t.Helper()
	client := dynamodb.NewFromConfig(dynamotest.Start(t))
	in := &dynamodb.CreateTableInput{TableName: &place.Table, BillingMode: types.BillingModePayPerRequest}
	for i, name := range append([]string{place.Key}, sort...) {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS})
		in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: &name, KeyType: []types.KeyType{types.KeyTypeHash, types.KeyTypeRange}[i]})
	}
	if _, err := client.CreateTable(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	return client
}

// put replaces the record by one with the attributes.
func put(t *testing.T, client *dynamodb.Client, attributes object) {
	t.Helper()
	item := object{place.Key: &text{Value: property.Record}, "updated_by": &text{Value: "somebody"}}
	for name, value := range attributes {
		item[name] = value
	}
	if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &place.Table, Item: item}); err != nil {
		t.Fatal(err)
	}
}

// roles is a policy that differs from the default one in its required roles.
func roles(names ...mfa.Role) func(*mfa.Policy) {
	return func(p *mfa.Policy) { p.RequiredRoles, p.OptionalRoles = names, nil }
}

// samePolicy fails the test unless the record is the default policy with the changes.
func samePolicy(t *testing.T, raw []byte, change func(*mfa.Policy)) {
	t.Helper()
	got, err := mfa.ParsePolicy(raw)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	want := mfa.DefaultPolicy()
	change(&want)
	pattern := cmp.Comparer(func(a, b mfa.Policy) bool { return a.TicketPattern.String() == b.TicketPattern.String() })
	if !cmp.Equal(got, want, pattern) {
		t.Error("the ticket patterns differ")
	}
	got.TicketPattern, want.TicketPattern, got.Revision, want.Revision = nil, nil, "", ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", raw, diff)
	}
}

func TestATablesValueIsThePolicyHoweverItIsStored(t *testing.T) {
	client := create(t)
	two := &list{Value: []types.AttributeValue{&text{Value: "cloud_admin"}, &text{Value: "security_admin"}}}
	for name, c := range map[string]struct {
		value  types.AttributeValue
		raw    string
		policy func(*mfa.Policy)
	}{
		"text of a list": {
			&text{Value: ` ["cloud_admin",  "security_admin"]`}, ` ["cloud_admin",  "security_admin"]`,
			roles("cloud_admin", "security_admin"),
		},
		"text of a document": {&text{Value: string(mfa.DefaultDocument())}, string(mfa.DefaultDocument()), func(*mfa.Policy) {}},
		"a list":             {two, `["cloud_admin","security_admin"]`, roles("cloud_admin", "security_admin")},
		"a string set": {
			&types.AttributeValueMemberSS{Value: []string{"security_admin", "cloud_admin"}}, `["cloud_admin","security_admin"]`,
			roles("cloud_admin", "security_admin"),
		},
		"a map": {
			&inner{Value: object{
				"mfa_enforcement": &inner{Value: object{
					"required_roles": two, "grace_period_days": &number{Value: "3"}, "optional_roles": &list{Value: []types.AttributeValue{}},
					"note": &types.AttributeValueMemberNULL{Value: true},
				}},
				"override": &inner{Value: object{
					"sign_out": &types.AttributeValueMemberBOOL{Value: false}, "notice_hours": &types.AttributeValueMemberNS{Value: []string{"6", "2"}},
				}},
			}},
			`{"mfa_enforcement":{"grace_period_days":3,"note":null,"optional_roles":[],"required_roles":["cloud_admin","security_admin"]},` +
				`"override":{"notice_hours":[2,6],"sign_out":false}}`,
			func(p *mfa.Policy) {
				p.RequiredRoles, p.OptionalRoles = []mfa.Role{"cloud_admin", "security_admin"}, []mfa.Role{}
				p.Grace, p.SignOut, p.Notices = 3*24*time.Hour, false, []time.Duration{6 * time.Hour, 2 * time.Hour}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			put(t, client, object{place.Value: c.value})
			raw, err := property.NewTable(client, place).Read(t.Context())
			if err != nil || string(raw) != c.raw {
				t.Fatalf("have %s, %v; want %s", raw, err, c.raw)
			}
			samePolicy(t, raw, c.policy)
		})
	}
}

func TestANumberKeepsItsDigits(t *testing.T) {
	client := create(t)
	for have, want := range map[string]string{
		"12345678901234567890123456789012345678": "12345678901234567890123456789012345678", "0.1": "0.1", "-7": "-7", "24.0": "24",
	} {
		put(t, client, object{place.Value: &number{Value: have}})
		if raw, err := property.NewTable(client, place).Read(t.Context()); err != nil || string(raw) != want {
			t.Errorf("%s: have %s, %v", have, raw, err)
		}
	}
}

func TestATableWithoutTheRecordIsRead(t *testing.T) {
	client := create(t)
	source := property.NewTable(client, place)
	if raw, err := source.Read(t.Context()); raw != nil || err != nil {
		t.Errorf("no item: %q, %v", raw, err)
	}
	put(t, client, nil)
	if raw, err := source.Read(t.Context()); raw != nil || err != nil {
		t.Errorf("no attribute: %q, %v", raw, err)
	}
	put(t, client, object{place.Value: &types.AttributeValueMemberNULL{Value: true}})
	raw, err := source.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mfa.ParsePolicy(raw); !errors.Is(err, mfa.ErrNoPolicy) {
		t.Errorf("null: %q, %v", raw, err)
	}
}

func TestWhatATableCannotGiveIsAnError(t *testing.T) {
	binary := &types.AttributeValueMemberB{Value: []byte(`["cloud_admin"]`)}
	for name, arrange := range map[string]func(*testing.T) *dynamodb.Client{
		"no table": func(t *testing.T) *dynamodb.Client { return dynamodb.NewFromConfig(dynamotest.Start(t)) },
		"sort key": func(t *testing.T) *dynamodb.Client { return create(t, "scope") },
		"another key": func(t *testing.T) *dynamodb.Client {
			client := dynamodb.NewFromConfig(dynamotest.Start(t))
			if _, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
				TableName: &place.Table, BillingMode: types.BillingModePayPerRequest,
				AttributeDefinitions: []types.AttributeDefinition{{AttributeName: new("id"), AttributeType: types.ScalarAttributeTypeS}},
				KeySchema:            []types.KeySchemaElement{{AttributeName: new("id"), KeyType: types.KeyTypeHash}},
			}); err != nil {
				t.Fatal(err)
			}
			return client
		},
		"binary": func(t *testing.T) *dynamodb.Client {
			client := create(t)
			put(t, client, object{place.Value: binary})
			return client
		},
		"binary in a list in a map": func(t *testing.T) *dynamodb.Client {
			client := create(t)
			put(t, client, object{place.Value: &inner{Value: object{"mfa_enforcement": &list{Value: []types.AttributeValue{binary}}}}})
			return client
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := property.NewTable(arrange(t), place).Read(t.Context())
			if raw != nil || err == nil {
				t.Fatalf("have %q, %v", raw, err)
			}
			for _, part := range []string{place.Table, place.Key, property.Record, place.Value} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v: does not name %s", err, part)
				}
			}
		})
	}
}
