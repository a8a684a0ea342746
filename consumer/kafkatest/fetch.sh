#!/bin/sh
# This script copies the jars of Apache Kafka from Maven Central into a cache outside the source
# tree, for tests on real Kafka. It does nothing if the cache exists. KAFKA_VERSION sets a version
# other than the one in pom.xml, and KAFKA_LIBS a different directory. apache_libs.go uses the same
# directories.
set -eu
cd "$(dirname "$0")"
version=${KAFKA_VERSION:-$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' pom.xml)}
libs=${KAFKA_LIBS:-${XDG_CACHE_HOME:-$HOME/.cache}/segment-to-launchdarkly/kafka-$version}

fail() { echo "fetch.sh: $*" >&2; exit 1; }

command -v java >/dev/null || fail "java not found; Kafka needs Java 17 or later (Debian: apt-get install default-jre-headless)"
java=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
[ "${java:-0}" -ge 17 ] || fail "java has version ${java:-unknown}; Kafka needs Java 17 or later (Debian: apt-get install default-jre-headless)"

if [ ! -d "$libs" ]; then
	command -v mvn >/dev/null || fail "mvn not found; it is needed to fetch the jars from Maven Central (Debian: apt-get install maven)"
	mkdir -p "$(dirname "$libs")"
	part=$(mktemp -d "$libs.XXXXXX")
	trap 'rm -rf "$part"' EXIT
	mvn -B -q dependency:copy-dependencies -Dkafka.version="$version" -DincludeScope=runtime -DoutputDirectory="$part" || fail "mvn failed to copy the jars of Kafka $version"
	mv "$part" "$libs" # atomic, so that the directory is complete if it exists
	chmod 755 "$libs"
fi
echo "Apache Kafka $version: $libs"
