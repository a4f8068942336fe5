package property

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Items is what Table needs of DynamoDB's client; its own retries are expected.
type Items interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
}

// Place is where a table keeps the record. Every field is required.
type Place struct {
	// Table is the table's name or ARN, in the product StackFlow_SystemProperty.
	Table string
	// Key is the attribute that is the table's partition key, a string. A table
	// with a sort key is not supported: to read it is an error.
	Key string
	// Value is the attribute, at the top of the item, that has the setting.
	Value string
}

// Table is a Source in a DynamoDB table, where it is the item with the key
// Record. It may be used by many at once.
type Table struct {
	client Items
	place  Place
}

// NewTable returns the source at the place.
func NewTable(client Items, place Place) *Table { return &Table{client: client, place: place} }

// Read implements worker.PolicySource with one strongly consistent read. A string
// is the record as it is. A list, map, set or other native value is written as
// the JSON document that it stands for: the same value always as the same bytes,
// sets as sorted lists, numbers in DynamoDB's own digits. Without the item or the
// attribute the record is missing. A missing table is an error, and so is a value
// with binary data in it.
func (t *Table) Read(ctx context.Context) ([]byte, error) {
	raw, err := t.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("read attribute %s, where %s is %s, in table %s: %w", t.place.Value, t.place.Key, Record, t.place.Table, err)
	}
	return raw, nil
}

func (t *Table) read(ctx context.Context) ([]byte, error) {
	out, err := t.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &t.place.Table, ConsistentRead: new(true),
		Key: map[string]types.AttributeValue{t.place.Key: &types.AttributeValueMemberS{Value: Record}},
		// The product may have given the attribute a reserved word, like "value".
		ProjectionExpression: new("#value"), ExpressionAttributeNames: map[string]string{"#value": t.place.Value},
	})
	if err != nil {
		return nil, err
	}
	switch v := out.Item[t.place.Value].(type) {
	case nil:
		return nil, nil
	case *types.AttributeValueMemberS:
		return []byte(v.Value), nil
	default:
		value, err := plain(v)
		if err != nil {
			return nil, err
		}
		return json.Marshal(value)
	}
}

// plain returns what encoding/json writes as the value.
func plain(v types.AttributeValue) (any, error) {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value, nil
	case *types.AttributeValueMemberN:
		return json.Number(v.Value), nil
	case *types.AttributeValueMemberBOOL:
		return v.Value, nil
	case *types.AttributeValueMemberNULL:
		return nil, nil
	case *types.AttributeValueMemberSS:
		return slices.Sorted(slices.Values(v.Value)), nil
	case *types.AttributeValueMemberNS:
		list := make([]json.Number, 0, len(v.Value))
		for _, n := range v.Value {
			list = append(list, json.Number(n))
		}
		slices.Sort(list)
		return list, nil
	case *types.AttributeValueMemberL:
		list := make([]any, 0, len(v.Value)) // an empty list is not null
		for _, member := range v.Value {
			value, err := plain(member)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	case *types.AttributeValueMemberM:
		object := make(map[string]any, len(v.Value))
		for name, member := range v.Value {
			value, err := plain(member)
			if err != nil {
				return nil, err
			}
			object[name] = value
		}
		return object, nil
	default:
		return nil, fmt.Errorf("%T cannot be written as JSON", v)
	}
}
