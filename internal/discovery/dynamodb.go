package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/rs/xid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protowire"

	"lakefs_import_exporter/lakefs"
)

// lakeFS's own names, from pkg/kv/dynamodb and pkg/graveler of its source.
const (
	DefaultTableName = "kvstore"

	partitionKey          = "PartitionKey"
	itemKey               = "ItemKey"
	itemValue             = "ItemValue"
	repositoriesPartition = "graveler"
	repositoriesPrefix    = "repos/"
	importsPrefix         = "imports/"

	fieldState       protowire.Number = 5 // of RepositoryData
	fieldInstanceUID protowire.Number = 6
	stateInDeletion                   = 1
)

// maxConcurrentQueries keeps a refresh from taking a table's read capacity, and
// from many connections.
const maxConcurrentQueries = 8

// DynamoDBConfig tells how to read the database of a lakeFS whose database.type
// is dynamodb, by the names of lakeFS's database.dynamodb. What is empty is found as
// the AWS SDK finds it.
type DynamoDBConfig struct {
	TableName       string `yaml:"table_name"` // empty: DefaultTableName
	Region          string `yaml:"region"`
	Endpoint        string `yaml:"endpoint"` // a URL
	Profile         string `yaml:"aws_profile"`
	AccessKeyID     string `yaml:"aws_access_key_id"`
	SecretAccessKey string `yaml:"aws_secret_access_key"`
}

type dynamoDB struct {
	DynamoDBConfig
	client *dynamodb.Client // nil at first, and after an error
}

// NewDynamoDB returns a Source that finds its credentials anew after each failed
// refresh. It reports what is wrong with cfg, and connects to nothing.
func NewDynamoDB(cfg DynamoDBConfig) (Source, error) {
	if (cfg.AccessKeyID == "") != (cfg.SecretAccessKey == "") {
		return nil, errors.New("dynamodb: must have both access key ID and secret access key, or neither")
	}
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, errors.New("dynamodb: endpoint: must be an http or https URL")
		}
	}
	if cfg.TableName == "" {
		cfg.TableName = DefaultTableName
	}
	return &dynamoDB{DynamoDBConfig: cfg}, nil
}

func (d *dynamoDB) List(ctx context.Context, found func(Import)) error {
	if d.client == nil {
		if err := d.connect(ctx); err != nil {
			return err
		}
	}
	if err := d.list(ctx, found); err != nil {
		d.client = nil
		return fmt.Errorf("dynamodb: query table %s: %s", d.TableName, dynamoDBReason(err))
	}
	return nil
}

func (d *dynamoDB) connect(ctx context.Context) error {
	options := []func(*config.LoadOptions) error{
		config.WithRegion(d.Region),
		config.WithSharedConfigProfile(d.Profile),
		config.WithLogger(logging.Nop{}), // it would be standard error
	}
	if d.AccessKeyID != "" {
		static := credentials.NewStaticCredentialsProvider(d.AccessKeyID, d.SecretAccessKey, "")
		options = append(options, config.WithCredentialsProvider(static))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	switch {
	case err != nil:
		return errors.New("dynamodb: the AWS configuration (environment, shared files, profile) cannot be loaded")
	case cfg.Region == "":
		return errors.New("dynamodb: region is missing")
	}
	d.client = dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		if d.Endpoint != "" {
			o.BaseEndpoint = &d.Endpoint
		}
	})
	return nil
}

func (d *dynamoDB) list(ctx context.Context, found func(Import)) error {
	var mu sync.Mutex // found is called by one at a time
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxConcurrentQueries)
	locked := func(i Import) {
		mu.Lock()
		defer mu.Unlock()
		found(i)
	}
	err := d.query(ctx, repositoriesPartition, repositoriesPrefix, itemKey+", "+itemValue, func(repository string, value []byte) {
		uid, inDeletion := parseRepository(value)
		switch {
		case inDeletion:
		case uid == "" || lakefs.ValidateRepository(repository) != nil:
			locked(Import{Repository: repository}) // which is counted as invalid
		default:
			group.Go(func() error {
				return d.query(ctx, repository+"-"+uid, importsPrefix, itemKey, func(id string, _ []byte) {
					locked(Import{repository, id})
				})
			})
		}
	})
	// The first error of the group is the cause: it cancels everything else.
	if groupErr := group.Wait(); groupErr != nil {
		return groupErr
	}
	return err
}

// query calls found for each item of a partition whose key begins with prefix,
// with the rest of its key, and its value if that is among the attributes.
func (d *dynamoDB) query(ctx context.Context, partition, prefix, attributes string, found func(key string, value []byte)) error {
	pages := dynamodb.NewQueryPaginator(d.client, &dynamodb.QueryInput{
		TableName:              &d.TableName,
		KeyConditionExpression: aws.String(partitionKey + " = :partition AND begins_with(" + itemKey + ", :prefix)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":partition": &types.AttributeValueMemberB{Value: []byte(partition)},
			":prefix":    &types.AttributeValueMemberB{Value: []byte(prefix)},
		},
		ProjectionExpression: &attributes,
		Select:               types.SelectSpecificAttributes,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			key, value := binary(item[itemKey]), binary(item[itemValue])
			found(strings.TrimPrefix(string(key), prefix), value)
		}
	}
	return nil
}

// binary returns the value of a binary attribute, nil if it is of another type.
func binary(attribute types.AttributeValue) []byte {
	b, _ := attribute.(*types.AttributeValueMemberB)
	if b == nil {
		return nil
	}
	return b.Value
}

// parseRepository returns the UID in a protobuf message RepositoryData, empty if
// there is no valid one, and whether the repository is being deleted. Fields of a
// newer lakeFS are skipped.
func parseRepository(data []byte) (uid string, inDeletion bool) {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return "", false
		}
		data = data[n:]
		size := protowire.ConsumeFieldValue(number, kind, data)
		if size < 0 {
			return "", false
		}
		switch {
		case number == fieldState && kind == protowire.VarintType:
			state, _ := protowire.ConsumeVarint(data)
			inDeletion = state == stateInDeletion
		case number == fieldInstanceUID && kind == protowire.BytesType:
			uid, _ = protowire.ConsumeString(data)
		}
		data = data[size:]
	}
	if _, err := xid.FromString(uid); err != nil {
		return "", inDeletion
	}
	return uid, inDeletion
}

// dynamoDBErrors has the errors that an operator can do something about.
var dynamoDBErrors = map[string]string{
	"AccessDeniedException":                  "permission denied, see deploy/lakefs/dynamodb-policy.json",
	"ExpiredTokenException":                  "the credentials have expired",
	"InvalidSignatureException":              "wrong credentials, or a wrong clock",
	"ProvisionedThroughputExceededException": "throttled",
	"ResourceNotFoundException":              "no such table",
	"ThrottlingException":                    "throttled",
	"UnrecognizedClientException":            "wrong credentials",
}

// dynamoDBReason tells what kind of error err is.
func dynamoDBReason(err error) string {
	var (
		apiErr  smithy.APIError
		httpErr *awshttp.ResponseError
	)
	switch {
	case errors.As(err, &apiErr) && dynamoDBErrors[apiErr.ErrorCode()] != "":
		return dynamoDBErrors[apiErr.ErrorCode()]
	case errors.As(err, &httpErr) && httpErr.HTTPStatusCode() >= http.StatusMultipleChoices:
		return fmt.Sprintf("HTTP status %d", httpErr.HTTPStatusCode())
	default:
		return cmp.Or(networkReason(err), "no valid answer, or no credentials were found")
	}
}
