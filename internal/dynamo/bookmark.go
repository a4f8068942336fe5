package dynamo

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stackflow/relatch/internal/worker"
)

// bookmarkKey is where the sweep's bookmark stands, in a partition of its own.
func bookmarkKey() item { return itemKey("sweep", "bookmark") }

const attrBookmark = "bookmark"

// Bookmark returns the sweep's bookmark, the zero one if none was kept.
func (l *Ledger) Bookmark(ctx context.Context) (worker.Bookmark, error) {
	found, err := l.read(ctx, []item{bookmarkKey()})
	if err != nil || len(found) == 0 {
		return worker.Bookmark{}, err
	}
	var b worker.Bookmark
	if err := json.Unmarshal([]byte(found[0].text(attrBookmark)), &b); err != nil {
		return worker.Bookmark{}, fmt.Errorf("read the bookmark: %w", err)
	}
	return b, nil
}

// KeepBookmark replaces the sweep's bookmark.
func (l *Ledger) KeepBookmark(ctx context.Context, b worker.Bookmark) error {
	raw, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("write the bookmark: %w", err)
	}
	it := bookmarkKey()
	it[attrBookmark] = text(string(raw))
	_, err = l.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(l.table), Item: it})
	return err
}
