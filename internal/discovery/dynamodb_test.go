//go:build e2e

package discovery_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"lakefs_import_exporter/internal/discovery"
	"lakefs_import_exporter/lakefs/lakefstest"
)

const (
	accessKeyID     = "AK1DACCESS"
	secretAccessKey = "secr3taccess"
)

func newDynamoDB(t testing.TB, endpoint string) discovery.Source {
	t.Helper()
	source, err := discovery.NewDynamoDB(discovery.DynamoDBConfig{
		Region: "eu-west-1", Endpoint: endpoint, AccessKeyID: accessKeyID, SecretAccessKey: secretAccessKey,
	})
	must(t, err)
	return source
}

// startDynalite starts an emulator of DynamoDB with rows in a table as lakeFS
// makes it, and returns its address. It is npm's dynalite, in .tools or where
// DYNALITE says.
func startDynalite(t testing.TB, rows []row) string {
	t.Helper()
	program := os.Getenv("DYNALITE")
	if program == "" {
		program, _ = filepath.Abs(filepath.Join("..", "..", ".tools", "node_modules", ".bin", "dynalite"))
	}
	if _, err := os.Stat(program); err != nil {
		needs(t, "dynalite (npm install --prefix .tools dynalite, or its path in DYNALITE)")
	}
	port := freePort(t)
	process := exec.Command(program, "--host", "127.0.0.1", "--port", port, "--createTableMs", "0")
	must(t, process.Start())
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	client := dynamodb.New(dynamodb.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String("http://127.0.0.1:" + port), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: accessKeyID, SecretAccessKey: secretAccessKey}, nil
		}),
	})
	eventually(t, "dynalite is up", func() bool {
		_, err := client.ListTables(t.Context(), &dynamodb.ListTablesInput{})
		return err == nil
	})
	attribute := func(name string, keyType types.KeyType) (types.AttributeDefinition, types.KeySchemaElement) {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeB},
			types.KeySchemaElement{AttributeName: &name, KeyType: keyType}
	}
	partition, hash := attribute("PartitionKey", types.KeyTypeHash)
	key, sort := attribute("ItemKey", types.KeyTypeRange)
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String("kvstore"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{partition, key}, KeySchema: []types.KeySchemaElement{hash, sort},
	})
	must(t, err)
	eventually(t, "the table is there", func() bool {
		table, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String("kvstore")})
		return err == nil && table.Table.TableStatus == types.TableStatusActive
	})
	for batch := range slices.Chunk(rows, 25) {
		var requests []types.WriteRequest
		for _, r := range batch {
			requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: map[string]types.AttributeValue{
				"PartitionKey": &types.AttributeValueMemberB{Value: r.partition},
				"ItemKey":      &types.AttributeValueMemberB{Value: r.key},
				"ItemValue":    &types.AttributeValueMemberB{Value: r.value},
			}}})
		}
		out, err := client.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{
			RequestItems: map[string][]types.WriteRequest{"kvstore": requests},
		})
		if err != nil || len(out.UnprocessedItems) > 0 {
			t.Fatalf("%v, %v", out, err)
		}
	}
	return "127.0.0.1:" + port
}

func TestDynamoDBFindsAllImports(t *testing.T) {
	all, wanted := recordedAndOdd(t)
	all = slices.DeleteFunc(all, func(r row) bool { return len(r.key) > 1024 }) // more than DynamoDB takes
	// So many that a Query has several pages, of 1 MB.
	var ids []string
	for n := range 3000 {
		ids = append(ids, newID(time.Unix(int64(n), 0), 0))
	}
	many := repositoryRow{name: "many", uid: uid}.rows(ids...)
	for n := range many[1:] {
		many[n+1].value = []byte(strings.Repeat("x", 374))
	}
	source := newDynamoDB(t, "http://"+startDynalite(t, append(all, many...)))
	wantSet(t, source, append(wanted, many...))
}

func TestDynamoDBComesBack(t *testing.T) {
	proxy, err := lakefstest.NewProxy(startDynalite(t, recordedRows(t)))
	must(t, err)
	defer proxy.Close()
	source := newDynamoDB(t, "http://"+proxy.Addr)
	wantSet(t, source, recordedRows(t))
	must(t, proxy.Set(lakefstest.Refuse))
	wantError(t, source, time.Hour, "dynamodb: query table kvstore: connection refused")
	must(t, proxy.Set(lakefstest.Forward))
	wantSet(t, source, recordedRows(t))
}

// A query is a request for a Query, as it is sent.
type query struct {
	TableName, KeyConditionExpression, ProjectionExpression, Select string
	ExpressionAttributeValues                                       map[string]struct{ B []byte }
}

type item map[string]struct{ B []byte }

// fakeDynamoDB answers each Query with the rows that respond returns.
func fakeDynamoDB(t testing.TB, respond func(w http.ResponseWriter, r *http.Request, q query) []row) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if action := r.Header.Get("X-Amz-Target"); action != "DynamoDB_20120810.Query" {
			t.Errorf("asked for %s", action)
		}
		var q query
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			return // canceled, since another Query failed
		}
		items := []item{}
		for _, row := range respond(w, r, q) {
			items = append(items, item{"ItemKey": {row.key}, "ItemValue": {row.value}})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Items": items, "Count": len(items), "ScannedCount": len(items)})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// refuse answers as DynamoDB does.
func refuse(w http.ResponseWriter, code, message string) []row {
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazon.coral.service#" + code, "message": message})
	return nil
}

// in returns the rows that q asks for.
func in(rows []row, q query) []row {
	var found []row
	for _, r := range rows {
		if string(r.partition) == string(q.ExpressionAttributeValues[":partition"].B) &&
			strings.HasPrefix(string(r.key), string(q.ExpressionAttributeValues[":prefix"].B)) {
			found = append(found, r)
		}
	}
	return found
}

// TestDynamoDBPolicy wants what is asked for to be what the policy grants, and
// the values of repositories only.
//
// The policy has no dynamodb:LeadingKeys. Partitions of imports begin with the
// names of repositories, so that no pattern tells them from others; and partition
// keys are binary here, for which AWS does not document what the condition is
// compared with. Who may read any partition's keys may read access key IDs, and
// with ItemValue, which repositories need, encrypted secrets.
func TestDynamoDBPolicy(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "deploy", "lakefs", "dynamodb-policy.json"))
	must(t, err)
	var policy struct {
		Statement []struct {
			Effect, Action, Resource string
			Condition                struct {
				Attributes map[string][]string `json:"ForAllValues:StringEquals"`
				Select     map[string]string   `json:"StringEquals"`
			}
		}
	}
	must(t, json.Unmarshal(data, &policy))
	if len(policy.Statement) != 1 {
		t.Fatalf("policy has %d statements", len(policy.Statement))
	}
	granted := policy.Statement[0]
	if granted.Effect != "Allow" || granted.Action != "dynamodb:Query" || !strings.HasSuffix(granted.Resource, ":table/kvstore") {
		t.Errorf("policy grants %+v", granted)
	}
	var mu sync.Mutex
	asked := map[string]bool{}
	source := newDynamoDB(t, fakeDynamoDB(t, func(_ http.ResponseWriter, _ *http.Request, q query) []row {
		mu.Lock()
		defer mu.Unlock()
		attributes := strings.Split(q.ProjectionExpression, ", ")
		for _, attribute := range append(attributes, "PartitionKey") {
			asked[attribute] = true
			if !slices.Contains(granted.Condition.Attributes["dynamodb:Attributes"], attribute) {
				t.Errorf("policy does not grant attribute %s", attribute)
			}
		}
		if q.Select != granted.Condition.Select["dynamodb:Select"] {
			t.Errorf("Query has Select %q", q.Select)
		}
		if string(q.ExpressionAttributeValues[":partition"].B) != "graveler" && slices.Contains(attributes, "ItemValue") {
			t.Errorf("asked for values of imports: %+v", q)
		}
		return in(recordedRows(t), q)
	}))
	wantSet(t, source, recordedRows(t))
	if len(asked) != len(granted.Condition.Attributes["dynamodb:Attributes"]) {
		t.Errorf("asked for %v, less than the policy grants", asked)
	}
}

// TestDynamoDBCredentialsChange has keys in a shared credentials file.
func TestDynamoDBCredentialsChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	write := func(key string) {
		must(t, os.WriteFile(file, []byte("[lakefs]\naws_access_key_id = "+key+"\naws_secret_access_key = s\nregion = eu-west-1\n"), 0o600))
	}
	valid := "FIRST"
	endpoint := fakeDynamoDB(t, func(w http.ResponseWriter, r *http.Request, q query) []row {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential="+valid+"/") {
			return refuse(w, "UnrecognizedClientException", "The security token included in the request is invalid.")
		}
		return in(recordedRows(t), q)
	})
	write(valid)
	source, err := discovery.NewDynamoDB(discovery.DynamoDBConfig{Endpoint: endpoint, Profile: "lakefs"})
	must(t, err)
	wantSet(t, source, recordedRows(t))
	valid = "SECOND"
	wantError(t, source, time.Hour, "dynamodb: query table kvstore: wrong credentials")
	write(valid)
	wantSet(t, source, recordedRows(t))
}

// TestDynamoDBErrors has a server that puts all it was sent into its errors.
func TestDynamoDBErrors(t *testing.T) {
	for code, want := range map[string]string{
		"AccessDeniedException":     "permission denied, see deploy/lakefs/dynamodb-policy.json",
		"ResourceNotFoundException": "no such table",
		"ValidationException":       "HTTP status 400",
		accessKeyID:                 "HTTP status 400",
	} {
		t.Run(code, func(t *testing.T) {
			endpoint := fakeDynamoDB(t, func(w http.ResponseWriter, r *http.Request, q query) []row {
				if q.ProjectionExpression != "ItemKey" { // the repositories, then fail on the first's imports
					return in(recordedRows(t), q)
				}
				return refuse(w, code, fmt.Sprint(r.Header, q))
			})
			wantError(t, newDynamoDB(t, endpoint), time.Hour, "dynamodb: query table kvstore: "+want)
		})
	}
	t.Run("no DynamoDB", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
		defer server.Close()
		wantError(t, newDynamoDB(t, server.URL), time.Hour, "dynamodb: query table kvstore: no valid answer, or no credentials were found")
	})
}

func TestBadDynamoDBConfig(t *testing.T) {
	for name, test := range map[string]struct {
		config discovery.DynamoDBConfig
		want   string
	}{
		"half of the keys": {discovery.DynamoDBConfig{AccessKeyID: "a"}, "dynamodb: must have both access key ID and secret access key, or neither"},
		"endpoint":         {discovery.DynamoDBConfig{Endpoint: "localhost:8000"}, "dynamodb: endpoint: must be an http or https URL"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := discovery.NewDynamoDB(test.config); err == nil || err.Error() != test.want {
				t.Errorf("got error %v, want %s", err, test.want)
			}
		})
	}
	t.Run("no region", func(t *testing.T) {
		t.Setenv("AWS_REGION", "")
		t.Setenv("AWS_DEFAULT_REGION", "")
		t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
		source, err := discovery.NewDynamoDB(discovery.DynamoDBConfig{AccessKeyID: "a", SecretAccessKey: "b"})
		must(t, err)
		wantError(t, source, time.Hour, "dynamodb: region is missing")
	})
}
