"""What the engines are judged by: a plain model, closed forms, and cases that hurt."""
