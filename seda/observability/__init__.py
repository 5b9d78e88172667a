"""What operators watch: metrics in Prometheus' format."""
