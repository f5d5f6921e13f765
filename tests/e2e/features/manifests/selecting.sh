# selecting.sh EXPRESSION: a ReplicaSet of three whose selector is this expression alone.
kubectl create -f - <<END
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: selecting}
spec:
  replicas: 3
  selector: {matchExpressions: [$1]}
  template:
    metadata: {labels: {tier: frontend}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: "$TOOLBOX", command: [sleep, infinity]}]
END
