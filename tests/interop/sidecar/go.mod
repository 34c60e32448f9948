module durableflow.invalid/sidecar

go 1.21

require github.com/microsoft/durabletask-go v0.6.0
