"""Rollouts: one version of a workload replaces another, as Kubernetes Deployments and Argo Rollouts decide it."""
