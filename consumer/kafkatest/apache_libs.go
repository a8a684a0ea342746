//go:build unix

package kafkatest

import (
	"cmp"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

//go:embed pom.xml
var pom string

// newestVersion is the newest version of Apache Kafka that is tested.
var newestVersion = regexp.MustCompile(`<kafka.version>(.*)</kafka.version>`).FindStringSubmatch(pom)[1]

// apacheVersion returns the version of Apache Kafka downloaded by fetch.sh.
func apacheVersion() string { return cmp.Or(os.Getenv("KAFKA_VERSION"), newestVersion) }

// Old reports whether the cluster runs an old version of Kafka, whose brokers support neither SCRAM
// (without ZooKeeper, before Kafka 3.5) nor unclean elections as the soak test stages them.
func (*Apache) Old() bool { return strings.HasPrefix(apacheVersion(), "3.") }

// classPath returns the Java class path of the Kafka jars downloaded by fetch.sh.
func classPath() (string, error) {
	libs := os.Getenv("KAFKA_LIBS")
	if libs == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			cache = filepath.Join(os.Getenv("HOME"), ".cache")
		}
		libs = filepath.Join(cache, "segment-to-launchdarkly", "kafka-"+apacheVersion())
	}
	jars, _ := filepath.Glob(filepath.Join(libs, "*.jar"))
	if len(jars) == 0 {
		return "", fmt.Errorf("find Apache Kafka %s: no jars in %s; run make kafka", apacheVersion(), libs)
	}
	return strings.Join(jars, string(os.PathListSeparator)), nil
}
