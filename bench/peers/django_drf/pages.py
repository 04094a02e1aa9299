"""Pages in the product's shape."""

from typing import Any

from rest_framework.pagination import PageNumberPagination
from rest_framework.response import Response


class Pages(PageNumberPagination):
    page_size = 20
    page_size_query_param = "limit"
    max_page_size = 100

    def get_paginated_response(self, data: Any) -> Response:
        page = self.page
        return Response(
            {"items": data, "total": page.paginator.count, "page": page.number, "limit": page.paginator.per_page}
        )
