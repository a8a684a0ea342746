package kafkatest

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestEmbeddedReturnsEndsOfLeaderEpochs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		cluster, err := NewEmbedded(kfake.NumBrokers(2), kfake.SeedTopics(1, "t"), kfake.ListenFn(network.Listen),
			kfake.Ports(9092, 9093))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.Dialer(network.DialContext))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		produce := func(n int) {
			t.Helper()
			for range n {
				if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: "t"}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		move := func() {
			t.Helper()
			if err := cluster.MoveTopicPartition("t", 0, 1-cluster.LeaderFor("t", 0)); err != nil {
				t.Fatal(err)
			}
			cl.ForceMetadataRefresh()
		}
		end := func(epoch int32, want int64) {
			t.Helper()
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			req.ReplicaID = -1
			topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
			topic.Topic = "t"
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.LeaderEpoch = epoch
			topic.Partitions = append(topic.Partitions, p)
			req.Topics = append(req.Topics, topic)
			resp, err := req.RequestWith(context.Background(), cl.Broker(int(cluster.LeaderFor("t", 0))))
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.Topics[0].Partitions[0]; got.ErrorCode != 0 || got.EndOffset != want {
				t.Errorf("epoch %d ends at %d (error %d), want %d", epoch, got.EndOffset, got.ErrorCode, want)
			}
		}
		end(0, 0)
		produce(5)
		end(0, 5)
		move()
		end(0, 5) // plain kfake returns -1
		move()
		end(0, 5)
		end(1, 5)
		produce(3)
		end(0, 5)
		end(1, 5)
		end(2, 8)
		move()
		end(1, 5)
		end(2, 8)
		if err := cluster.DeleteRecords("t", 0, 8); err != nil {
			t.Fatal(err)
		}
		end(2, 8) // plain kfake returns 0

		// A recreated topic is empty, so a client at offset 8 detects that its position is beyond
		// the end.
		admin := kadm.NewClient(cl)
		if _, err := admin.DeleteTopic(context.Background(), "t"); err != nil {
			t.Fatal(err)
		}
		if err := cluster.CreateTopic("t", 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := cluster.MoveTopicPartition("t", 0, 0); err != nil {
			t.Fatal(err)
		}
		end(0, 0)
	})
}
