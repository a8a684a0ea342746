package config

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/twmb/franz-go/pkg/sasl"
)

const (
	identityTimeout = 10 * time.Second // for a connection to obtain credentials
	attemptTimeout  = 4 * time.Second  // of one request for credentials, which the AWS SDK may retry

	roleDuration  = time.Hour       // the longest session that every role allows
	refreshMargin = 5 * time.Minute // before the credentials expire
)

// mskIdentity is the AWS identity for the SASL mechanism AWS_MSK_IAM. All clients of the process
// share it, so that they share its cached credentials. It is safe for concurrent use.
type mskIdentity struct {
	mu      sync.Mutex      // guards the fields below; also held by load
	newest  aws.Credentials // whose Expires is refreshMargin too early
	failure *identityError  // of the last attempt to obtain credentials; nil if it was successful

	// The fields below do not change once load has succeeded.
	region      string
	kind        string                  // source of the base credentials, such as "environment variables"
	secrets     []Secret                // tokens in requests for the base credentials; some can be unset
	absent      []string                // the sources that are not configured, if only instance metadata is left
	role        string                  // ARN of the role assumed with the base credentials, or ""
	credentials aws.CredentialsProvider // the role's credentials, or the base credentials
}

// load selects the provider from the environment variables and the shared AWS files, unless an
// earlier call has done so. It sends no requests.
func (m *mskIdentity) load(k Kafka, client *awshttp.BuildableClient) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.credentials != nil {
		return nil
	}
	keys := k.SASL.AWS
	opts := []func(*awsconfig.LoadOptions) error{
		// The SDK's own region can be that of the pod instead of that of the cluster.
		awsconfig.WithRegion(cmp.Or(keys.Region, regionOf(k.Brokers))),
		awsconfig.WithHTTPClient(client),
		awsconfig.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = client }),
		awsconfig.WithCredentialsCacheOptions(refreshEarly),
		awsconfig.WithLogger(logging.Nop{}), // the default logger does not write JSON
	}
	if keys.Profile != "" {
		opts = append(opts, awsconfig.WithSharedConfigProfile(keys.Profile))
	}
	ctx, cancel := context.WithTimeout(context.Background(), identityTimeout)
	defer cancel()
	cfg, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return fmt.Errorf("load the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return Problem{Key: "kafka.sasl.aws.region", Rule: "must be set for AWS_MSK_IAM, " +
			"because neither the broker addresses, nor AWS_REGION, nor the AWS profile contain a region"}
	}
	m.region, m.credentials = cfg.Region, cfg.Credentials
	m.setSource(cfg, keys)
	if keys.RoleARN != "" {
		m.role = keys.RoleARN
		chain := cfg.Credentials
		cfg.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			creds, err := chain.Retrieve(ctx)
			if err != nil {
				err = baseError{err}
			}
			return creds, err
		})
		provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), keys.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = cmp.Or(keys.SessionName, program)
			o.Duration = roleDuration
			if keys.ExternalID != "" {
				o.ExternalID = &keys.ExternalID
			}
		})
		m.credentials = aws.NewCredentialsCache(provider, refreshEarly)
	}
	return nil
}

func refreshEarly(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = refreshMargin }

// regionOf returns the region in the host names that MSK gives to brokers, or "".
func regionOf(brokers []string) string {
	for _, addr := range brokers {
		if match := mskHost.FindStringSubmatch(addr); match != nil {
			return match[1]
		}
	}
	return ""
}

// mskHost matches names such as b-1.demo.abc123.c2.kafka.us-east-1.amazonaws.com, those of
// serverless clusters, and those of VPC endpoints.
var mskHost = regexp.MustCompile(`\.kafka(?:-serverless)?\.([a-z]+(?:-[a-z0-9]+)+-[0-9]+)\.`)

// setSource sets kind, secrets, and absent.
func (m *mskIdentity) setSource(cfg aws.Config, keys AWS) {
	var env awsconfig.EnvConfig
	var shared awsconfig.SharedConfig
	for _, source := range cfg.ConfigSources {
		switch s := source.(type) {
		case awsconfig.EnvConfig:
			env = s
		case awsconfig.SharedConfig:
			shared = s
		}
	}
	m.secrets = []Secret{
		{Value: os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")}, {File: os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")},
		{File: env.WebIdentityTokenFilePath}, {File: shared.WebIdentityTokenFile},
	}
	source := aws.CredentialSourceUndefined // the first source distinguishes the providers of the chain
	if p, ok := cfg.Credentials.(aws.CredentialProviderSource); ok && len(p.ProviderSources()) > 0 {
		source = p.ProviderSources()[0]
	}
	profile := cmp.Or(shared.Profile, keys.Profile, env.SharedConfigProfile, "default")
	switch source {
	case aws.CredentialSourceEnvVars:
		m.kind = "environment variables"
	case aws.CredentialSourceEnvVarsSTSWebIDToken:
		m.kind = "web identity (IRSA), role " + env.RoleARN
	case aws.CredentialSourceHTTP:
		m.kind = "container credentials (EKS Pod Identity or ECS)"
	case aws.CredentialSourceIMDS:
		m.kind = "EC2 instance role (instance metadata)"
		if keys.Profile == "" {
			m.absent = []string{
				"AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set",
				"AWS_WEB_IDENTITY_TOKEN_FILE (IRSA) is not set",
			}
		}
		m.absent = append(m.absent, "the shared AWS files contain no credentials for profile "+profile,
			"AWS_CONTAINER_CREDENTIALS_FULL_URI (EKS Pod Identity) and "+
				"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI (ECS) are not set")
	case aws.CredentialSourceProfile:
		m.kind = "shared file, profile " + profile
	case aws.CredentialSourceProfileSourceProfile, aws.CredentialSourceProfileNamedProvider:
		m.kind = "role " + shared.RoleARN + ", profile " + profile
	case aws.CredentialSourceProfileSTSWebIDToken:
		m.kind = "web identity, role " + shared.RoleARN + ", profile " + profile
	case aws.CredentialSourceSSO, aws.CredentialSourceProfileSSOLegacy:
		m.kind = "IAM Identity Center (SSO), profile " + profile
	case aws.CredentialSourceProfileProcess:
		m.kind = "credential_process, profile " + profile
	default:
		m.kind = "the AWS SDK's default chain, profile " + profile
	}
}

// retrieve returns the cached credentials, or new ones if those expire soon. If it cannot obtain
// new ones, it returns the old ones until they expire. The error contains no credentials.
func (m *mskIdentity) retrieve(ctx context.Context) (aws.Credentials, error) {
	limited, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	creds, err := m.credentials.Retrieve(limited)
	var failure *identityError
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) { // the caller is stopping, and the source may be fine
			return aws.Credentials{}, ctx.Err()
		}
		failure = m.problem(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = failure
	switch {
	case failure == nil:
		m.newest = creds
	case m.oldValid() <= 0:
		return aws.Credentials{}, failure
	}
	return m.newest, nil
}

// oldValid returns the time for which the newest credentials are still valid. The caller must hold
// m.mu.
func (m *mskIdentity) oldValid() time.Duration {
	if !m.newest.CanExpire {
		return 0
	}
	return time.Until(m.newest.Expires.Add(refreshMargin))
}

// failing returns the failure of the last attempt, and how long the old credentials are still valid.
func (m *mskIdentity) failing() (failure *identityError, old string, valid time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failure, "credentials are", m.oldValid()
}

// problem describes a failure to obtain credentials, without secrets.
func (m *mskIdentity) problem(err error) *identityError {
	if base, ok := errors.AsType[baseError](err); ok {
		err = base.error
	} else if m.role != "" {
		return &identityError{
			"cannot assume role " + m.role + " with " + m.kind + ": " + m.withoutSecrets(err),
			"Check that the role's trust policy allows this identity, and that STS is reachable.",
		}
	}
	if len(m.absent) > 0 {
		return &identityError{
			"no AWS credentials found: " + strings.Join(m.absent, "; ") + "; instance metadata: " + m.withoutSecrets(err),
			"Give the pod, task, or instance an IAM role, or set kafka.sasl.aws.profile or the AWS variables. " +
				"If a container uses the role of its EC2 instance, set the instance's metadata hop limit to 2.",
		}
	}
	advice := "Fix this source, or select another one with kafka.sasl.aws.profile or the AWS variables."
	_, responded := errors.AsType[smithy.APIError](err)
	_, failed := errors.AsType[*url.Error](err)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		advice = "The container image has no shell. For credential_process, use an image with a shell and the command."
	case responded:
		advice = "Check the role, its trust policy, and whether the token or session has expired."
	case failed, errors.Is(err, context.DeadlineExceeded):
		advice = "Check that the endpoint that issues the credentials is reachable."
	}
	return &identityError{"cannot get AWS credentials from " + m.kind + ": " + m.withoutSecrets(err), advice}
}

// baseError is the failure to obtain the credentials with which the role is assumed.
type baseError struct{ error }

// withoutSecrets returns the text of an AWS SDK error in one line, without the parts that can
// contain a secret: the output of a credential process, the paths of URLs, and texts that can be
// tokens.
func (m *mskIdentity) withoutSecrets(err error) string {
	if process, ok := errors.AsType[*processcreds.ProviderError](err); ok && !failedToRun(err) &&
		errors.Unwrap(process.Err) != nil { // the parser's error, whose text contains the output
		return "the output of the command is invalid"
	}
	text := strings.TrimPrefix(err.Error(), "failed to refresh cached credentials, ")
	keep := "" // paths and host names, which look like tokens
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		keep = file.Path
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		if u, err := url.Parse(request.URL); err == nil {
			keep += " //" + u.Host
			text = strings.ReplaceAll(text, request.URL, u.Scheme+"://"+u.Host)
		}
	}
	var hide []string
	for _, s := range m.secrets {
		if value, err := s.Read(); err == nil {
			hide = append(hide, strings.TrimSpace(value))
		}
		keep += " " + s.File
	}
	return masked(text, hide, keep)
}

// failedToRun reports whether a credential process could not be started, did not end in time, or
// had a nonzero exit status.
func failedToRun(err error) bool {
	_, missing := errors.AsType[*exec.Error](err)
	_, denied := errors.AsType[*fs.PathError](err)
	_, exited := errors.AsType[*exec.ExitError](err)
	return missing || denied || exited || errors.Is(err, context.DeadlineExceeded)
}

// Name implements [sasl.Mechanism].
func (*mskIdentity) Name() string { return "AWS_MSK_IAM" }

// Authenticate implements [sasl.Mechanism]. The Kafka client calls it for each new connection and
// each renewed authentication.
func (m *mskIdentity) Authenticate(ctx context.Context, addr string) (sasl.Session, []byte, error) {
	creds, err := m.retrieve(ctx)
	if err != nil {
		return nil, nil, err
	}
	payload, err := m.sign(ctx, creds, addr)
	return mskSession{}, payload, err
}

// sign returns the only message that the client sends: a presigned request as a JSON object, in the
// format of github.com/aws/aws-msk-iam-auth. Package aws of the Kafka client does the same, but
// cannot be given a region.
func (m *mskIdentity) sign(ctx context.Context, creds aws.Credentials, addr string) ([]byte, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	const connect = "/?Action=kafka-cluster%3AConnect&X-Amz-Expires=900"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+connect, nil)
	if err != nil {
		return nil, err
	}
	const emptyBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // SHA-256
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, creds, req, emptyBody, "kafka-cluster", m.region, time.Now())
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(signed)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{"version": "2020_10_22", "host": host, "user-agent": program}
	for name, values := range u.Query() {
		fields[strings.ToLower(name)] = values[0]
	}
	return json.Marshal(fields)
}

// mskSession expects a single response, which the broker sends if it accepts the identity.
type mskSession struct{}

// Challenge implements [sasl.Session].
func (mskSession) Challenge(response []byte) (done bool, reply []byte, err error) {
	if len(response) == 0 {
		return false, nil, errors.New("empty SASL response from the broker")
	}
	return true, nil, nil
}

// identify obtains credentials and describes where they come from.
func (m *mskIdentity) identify(ctx context.Context) (string, error) {
	if _, err := m.retrieve(ctx); err != nil {
		return "", err
	}
	text := m.kind
	if m.role != "" {
		text = "role " + m.role + " assumed with " + m.kind
	}
	return "AWS identity: " + text + ", region " + m.region, nil
}

// mskIdentity returns the identity, which it loads on the first call.
func (c *Config) mskIdentity() (*mskIdentity, error) {
	err := c.msk.load(c.Kafka, awshttp.NewBuildableClient().WithTimeout(attemptTimeout))
	return c.msk, err
}
